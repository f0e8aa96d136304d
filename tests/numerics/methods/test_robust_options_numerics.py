"""Options of mutual learning that the paper does not have, against loops over pixels: thresholds of
each class, weights by agreement, prototypes and class shares from the labels."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.labels.cells import at_cells
from rml_trainers.labels.pseudo_labels import PseudoLabel
from rml_trainers.labels.rectification import Rectifier
from rml_trainers.labels.selected_labels import MOMENTUM, ClassThresholds
from rml_trainers.methods.paper.iml import ImlConfig
from rml_trainers.methods.paper.rml import RmlConfig, RobustMutualLearning
from rml_trainers.networks.network import SegmentationOutput
from rml_trainers.noise.input_noise import mix, strengthen
from tests.support.method_case import Array, Case, case, softmax, taken

pytestmark = pytest.mark.usefixtures("single_thread")
Labels = npt.NDArray[np.int64]


def weighted(logits: Array, label: Labels, weight: Array) -> float:
    """Sum over labelled pixels of weight · CE, divided by their number."""
    losses = []
    for b, y, x in np.ndindex(*label.shape):
        if label[b, y, x] != 255:
            loss = -math.log(softmax(logits[b, :, y, x])[label[b, y, x]])
            losses.append(weight[b, y, x] * loss)
    return float(np.sum(losses) / max(1, len(losses)))


def taught(c: Case, labels: list[Labels], weight: Array) -> float:
    """L of both students, each taught by both labels."""
    assert c.batch.unlabelled is not None
    images = c.batch.unlabelled.image.float() / 255
    total = 0.0
    for i in range(2):
        draw = c.batch.noise[i]
        logits = c.student_logits(strengthen(images, draw), i)
        for label in labels:
            mixed = mix(torch.from_numpy(label), draw).numpy()
            mixed_weight = mix(torch.from_numpy(weight), draw).numpy()
            total += weighted(logits, mixed, mixed_weight)
        total += c.supervised(i)
    return total


def confidences(c: Case) -> list[Array]:
    scores = [c.scores("teachers", i) for i in range(2)]
    return [np.stack([softmax(maps).max(axis=0) for maps in each]) for each in scores]


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_pixels_on_which_teachers_differ_weigh_less(
    share: float, tiny_data: PreparedData, scratch: Path
) -> None:
    c = case(ImlConfig(disagreement_weight=share), tiny_data, scratch)
    labels = [c.hard(c.scores("teachers", i)) for i in range(2)]
    weight = np.where(labels[0] == labels[1], 1.0, share)
    assert 0.05 < (weight == 1).mean() < 0.95, "teachers agree on some pixels and differ on others"
    assert taken(c) == pytest.approx(taught(c, labels, weight), rel=1e-4)


def class_means(label: Labels, confidence: Array, before: Array) -> Array:
    """The moving average after one batch."""
    after = before.copy()
    for k in range(len(before)):
        values = [confidence[place] for place in np.ndindex(*label.shape) if label[place] == k]
        if values:
            after[k] = MOMENTUM * before[k] + (1 - MOMENTUM) * np.mean(values)
    return after


def test_each_class_has_its_own_threshold(tiny_data: PreparedData, scratch: Path) -> None:
    first = case(ImlConfig(), tiny_data, scratch)
    threshold = float(np.median(confidences(first)[0]))
    c = case(ImlConfig(class_threshold=threshold), tiny_data, scratch)
    num_classes = c.method.num_classes  # type: ignore[attr-defined]
    labels = []
    for i, confidence in enumerate(confidences(c)):
        label = c.hard(c.scores("teachers", i))
        usual = class_means(label, confidence, np.full(num_classes, 1 / num_classes))
        kept = label.copy()
        for place in np.ndindex(*label.shape):
            k = label[place]
            if k != 255 and confidence[place] <= threshold * usual[k] / usual.max():
                kept[place] = 255
        assert 0 < (kept != 255).sum() < (label != 255).sum()
        labels.append(kept)
    weight = np.ones(labels[0].shape)
    step = c.method.step(c.batch, c.learners)
    assert float(step.loss.detach()) == pytest.approx(taught(c, labels, weight), rel=1e-4)
    both = (labels[0] != 255) & (labels[1] != 255)
    assert (both != (labels[0] != 255)).any(), "some pixels have one label only"
    differ = float(((labels[0] != labels[1]) & both).mean())
    assert float(step.scalars["disagreement"]) == pytest.approx(differ)


def test_a_class_of_little_confidence_is_let_through_more_easily() -> None:
    thresholds = ClassThresholds(3, torch.device("cpu"))
    thresholds.confidence = torch.tensor([0.9, 0.45, 0.3])
    hard = torch.tensor([[[0, 0, 1, 1, 2, 255]]])
    confidence = torch.tensor([[[0.85, 0.7, 0.41, 0.39, 0.2, 0.99]]])
    kept = thresholds.select(PseudoLabel(hard, None, confidence), 0.8).hard
    assert kept.tolist() == [[[0, 255, 1, 255, 255, 255]]]
    mean = (0.41 + 0.39) / 2
    assert float(thresholds.confidence[1]) == pytest.approx(0.45 * MOMENTUM + mean * (1 - MOMENTUM))


def test_both_together_and_rectified(tiny_data: PreparedData, scratch: Path) -> None:
    """Agreement is of the classes before any is left out, and the labels are the rectified ones."""
    method = RmlConfig(min_cells=1, class_threshold=0.2, disagreement_weight=0.5)
    c = case(method, tiny_data, scratch)
    plain = case(RmlConfig(min_cells=1), tiny_data, scratch)
    assert c.batch.unlabelled is not None
    weak = c.batch.unlabelled.image.float() / 255
    outputs = c.learners.label("teachers", weak)
    assert isinstance(plain.method, RobustMutualLearning)
    assert isinstance(c.method, RobustMutualLearning)
    with torch.no_grad():
        rectified = plain.method.pseudo_labels(outputs, c.batch.unlabelled, c.learners)
        selected = c.method.pseudo_labels(outputs, c.batch.unlabelled, c.learners)
    agree = (rectified[0].hard == rectified[1].hard).numpy()
    for before, after in zip(rectified, selected, strict=True):
        assert after.weight is not None
        np.testing.assert_allclose(after.weight.numpy(), np.where(agree, 1.0, 0.5))
        known = after.hard != 255
        assert torch.equal(after.hard[known], before.hard[known])
        assert 0 < int(known.sum()) <= int((before.hard != 255).sum())


@pytest.mark.parametrize("align_corners", [True, False])
def test_cells_lie_on_these_pixels(align_corners: bool) -> None:
    label = torch.arange(9 * 13).view(9, 13)
    found = at_cells(label, (3, 4), align_corners=align_corners)
    for i in range(3):
        for j in range(4):
            if align_corners:
                place = (round(i * 8 / 2), round(j * 12 / 3))
            else:
                place = (math.floor((i + 0.5) * 3), math.floor((j + 0.5) * 13 / 4))
            assert int(found[i, j]) == int(label[place])


def test_truth_makes_the_prototypes_of_images_that_have_it() -> None:
    """Image 0 is labelled, image 1 is not: per image and class, the mean feature."""
    torch.manual_seed(0)
    feature = torch.randn(2, 5, 3, 4)
    logits = torch.randn(2, 3, 3, 4)
    truth = torch.full((2, 3, 4), 255)
    truth[0] = torch.randint(0, 3, (3, 4))
    truth[0, 0, 0] = 255
    rectifier = Rectifier(RmlConfig(min_cells=1, prototypes_from="truth"), 3, torch.device("cpu"))
    rectifier.gather(SegmentationOutput(logits, feature, None), truth)
    rectifier.begin()
    found = rectifier.tensors()["prototypes"].numpy()
    classes = [truth[0].numpy(), logits[1].argmax(dim=0).numpy()]
    for k in range(3):
        means = []
        for image, label in enumerate(classes):
            cells = [feature[image, :, y, x].numpy() for y, x in np.argwhere(label == k)]
            if cells:
                means.append(np.mean(cells, axis=0))
        np.testing.assert_allclose(found[k], np.mean(means, axis=0), rtol=1e-5)


def prototypes(c: Case) -> list[dict[str, Any]]:
    assert isinstance(c.method, RobustMutualLearning)
    return [rectifier.tensors() for rectifier in c.method.rectifiers]


def test_a_stage_begins_with_the_truth_of_its_labelled_images(
    tiny_data: PreparedData, tmp_path: Path
) -> None:
    found = {}
    for source in ("predictions", "truth"):
        (tmp_path / source).mkdir()
        method = RmlConfig(min_cells=1, prototypes_from=source)
        found[source] = case(method, tiny_data, tmp_path / source)
    c = found["truth"]
    student = c.learners.teacher(0)
    student.eval()
    split = c.trainer.split
    num_classes = tiny_data.num_classes
    means: dict[int, list[Array]] = {k: [] for k in range(num_classes)}
    for name in sorted({*split.labelled, *split.unlabelled}):
        index = tiny_data.index("train", name)
        image = torch.from_numpy(tiny_data.image("train", index).copy()).permute(2, 0, 1)[None]
        with torch.no_grad():
            output = student(image.float() / 255)
        label = output.logits.argmax(dim=1)[0]
        if name in split.labelled:
            whole = tiny_data.label("train", index)
            assert whole is not None
            label = at_cells(
                torch.from_numpy(whole.astype(np.int64)), tuple(label.shape), align_corners=True
            )
        for k in range(num_classes):
            if bool((label == k).any()):
                means[k].append(output.feature[0][:, label == k].mean(dim=1).double().numpy())
    made = prototypes(c)[0]
    for k, of_images in means.items():
        assert bool(made["seen"][k]) is bool(of_images)
        if of_images:
            wanted = np.mean(of_images, axis=0)
            np.testing.assert_allclose(made["prototypes"][k].numpy(), wanted, rtol=1e-3, atol=1e-4)
    other = prototypes(found["predictions"])[0]
    assert not torch.allclose(other["prototypes"], made["prototypes"])


def test_class_shares_of_the_labelled_images(tiny_data: PreparedData, scratch: Path) -> None:
    c = case(RmlConfig(min_cells=1, mixture="labelled"), tiny_data, scratch)
    counts = np.zeros(tiny_data.num_classes)
    for name in c.trainer.split.labelled:
        label = tiny_data.label("train", tiny_data.index("train", name))
        assert label is not None
        for k in range(tiny_data.num_classes):
            counts[k] += (label == k).sum()
    for network in prototypes(c):
        np.testing.assert_allclose(network["mixture"].numpy(), counts / counts.sum(), rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "key"),
    [({"class_threshold": 1.0}, "class_threshold"), ({"disagreement_weight": -1}, "disagree")],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], key: str) -> None:
    for config in (ImlConfig, RmlConfig):
        with pytest.raises(ValueError, match=key):
            config(**settings)
