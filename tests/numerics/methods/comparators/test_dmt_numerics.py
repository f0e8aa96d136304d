"""Dynamic Mutual Training: weights, curriculum and loss against plain loops."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.labels.class_balanced_selection import ConfidenceCounts, confident_class
from rml_trainers.methods.comparators.dmt import DmtConfig, DynamicMutualTraining
from rml_trainers.networks.network import SegmentationNetwork
from rml_trainers.students.losses import mutual_weight
from tests.support.method_case import Array, Case, case, softmax, taken, upsample

pytestmark = pytest.mark.usefixtures("single_thread")
GAMMAS = (1.5, 4.0)


def weight(prob: Array, label: Any, confidence: Any) -> float:
    """w of one pixel from the learning network's probabilities [K]."""
    if int(prob.argmax()) == label:
        return float(prob[label] ** GAMMAS[0])
    return 0.0 if prob.max() > confidence else float(prob[label] ** GAMMAS[1])


def bin_of(confidence: float) -> int:
    return int(min(-math.log2(max(1 - confidence, 2.0**-24)) * 1024, 24 * 1024 - 1))


def test_a_weight_is_small_where_the_networks_differ() -> None:
    rng = np.random.default_rng(0)
    prob = rng.dirichlet(np.ones(3), size=(2, 5, 7)).transpose(0, 3, 1, 2)
    label = rng.integers(0, 3, size=(2, 5, 7))
    confidence = rng.uniform(0.3, 1.0, size=(2, 5, 7))
    log_prob = torch.from_numpy(np.log(prob)).requires_grad_()
    found = mutual_weight(log_prob, torch.from_numpy(label), torch.from_numpy(confidence), GAMMAS)
    expected = np.array(
        [
            weight(prob[b, :, y, x], label[b, y, x], confidence[b, y, x])
            for b, y, x in np.ndindex(2, 5, 7)
        ]
    )
    agree = prob.argmax(1) == label
    assert agree.any() and (expected == 0).any() and ((expected > 0) & ~agree.flatten()).any(), (
        "all three branches"
    )
    np.testing.assert_allclose(found.numpy().flatten(), expected, rtol=1e-6)
    assert not found.requires_grad


class Networks:
    """A network is asked only to upsample."""

    align_corners = True
    upsample = SegmentationNetwork.upsample


def peaked(rng: np.random.Generator, num_images: int) -> Array:
    """Probabilities of a trained network: mostly above 0.99, classes of different sizes and
    confidence, as stored."""
    logits = rng.normal(size=(num_images, 4, 6, 7))
    favourite = rng.choice(4, p=(0.6, 0.3, 0.1, 0.0), size=(num_images, 6, 7))
    np.put_along_axis(
        logits,
        favourite[:, None],
        9 - 2 * favourite[:, None] + rng.normal(size=(num_images, 1, 6, 7)),
        1,
    )
    prob = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return np.asarray(prob.astype(np.float16).astype(np.float64))


@pytest.mark.parametrize("share", [0.2, 0.55, 1.0])
def test_the_most_confident_fraction_of_every_class_is_kept(share: float) -> None:
    prob = peaked(np.random.default_rng(1), 8)
    network = Networks()
    counts = ConfidenceCounts(network, 4, torch.device("cpu"))  # type: ignore[arg-type]
    inside = np.random.default_rng(2).random((8, 12, 14)) < 0.8
    for part, mask in zip(np.split(prob, 4), np.split(inside, 4), strict=True):
        counts.gather(torch.from_numpy(part).float(), torch.from_numpy(mask))
    threshold = counts.threshold(share).tolist()
    scores = np.stack([upsample(np.log(np.maximum(p, 1e-7)), 12, 14) for p in prob])
    soft = np.stack([softmax(s) for s in scores])
    label = soft.argmax(1)
    confidence = soft.max(1)
    assert threshold[3] == 0, "a class that is never predicted keeps everything"
    for k in range(3):
        ranked = np.sort(confidence[(label == k) & inside])[::-1]
        if share == 1:
            assert threshold[k] == 0
            continue
        lowest = ranked[math.ceil(share * len(ranked)) - 1]  # the last pixel that must be kept
        assert abs(threshold[k] - bin_of(float(lowest))) <= 1, (
            "off by one where a value lies on the edge of a bin"
        )
        _, _, bins = confident_class(torch.from_numpy(prob).float(), network, (12, 14))  # type: ignore[arg-type]
        kept = (bins.numpy() >= threshold[k])[(label == k) & inside].mean()
        assert share - 0.01 <= kept <= share + 0.05


def stored(c: Case, j: int) -> tuple[npt.NDArray[np.int64], Array]:
    """Label (255: not kept) and confidence of network j on the crops, from its stored
    probabilities."""
    assert c.batch.unlabelled is not None and isinstance(c.method, DynamicMutualTraining)
    prob = c.batch.unlabelled.initial[j].double().numpy()
    inside = c.batch.unlabelled.inside.numpy()
    threshold = c.method.tensors()[f"threshold/{j + 1}"].tolist()
    soft = np.stack(
        [softmax(upsample(np.log(np.maximum(p, 1e-7)), *inside.shape[1:])) for p in prob]
    )
    label = soft.argmax(1)
    confidence = soft.max(1)
    for b, y, x in np.ndindex(*label.shape):
        if not inside[b, y, x] or bin_of(confidence[b, y, x]) < threshold[label[b, y, x]]:
            label[b, y, x] = 255
    return label, confidence


def expected_loss(c: Case, i: int, branches: set[str]) -> float:
    assert c.batch.unlabelled is not None
    label, confidence = stored(c, 1 - i)
    crops = c.batch.labelled[i]
    total = 0.0
    count = 0
    known = c.student_logits(crops.image.float() / 255, i)
    truth = crops.label.numpy()
    for b, y, x in np.ndindex(*truth.shape):
        if truth[b, y, x] != 255:
            total = total - math.log(softmax(known[b, :, y, x])[truth[b, y, x]])
            count = count + 1
    logits = c.student_logits(c.batch.unlabelled.image.float() / 255, i)
    for b, y, x in np.ndindex(*label.shape):
        y_hat = label[b, y, x]
        if y_hat != 255:
            prob = softmax(logits[b, :, y, x])
            w = weight(prob, y_hat, confidence[b, y, x])
            branches.add("agree" if prob.argmax() == y_hat else "lost" if w else "won")
            total = total - w * math.log(prob[y_hat])
            count = count + 1
    assert count < truth.size + label.size
    return total / count


def test_the_loss_is_one_mean_over_labelled_and_pseudo_labelled_pixels(
    tiny_data: PreparedData, scratch: Path
) -> None:
    method = DmtConfig(fractions=(0.6, 1.0), gamma_agree=GAMMAS[0], gamma_disagree=GAMMAS[1])
    c = case(method, tiny_data, scratch)
    with torch.no_grad():  # the first student comes near the second, whose labels stay as they were
        for mine, theirs in zip(
            c.learners.student(0).parameters(), c.learners.student(1).parameters(), strict=True
        ):
            mine.copy_(theirs + 0.1 * theirs.std(correction=0) * torch.randn_like(theirs))
    branches: set[str] = set()
    expected = expected_loss(c, 0, branches) + expected_loss(c, 1, branches)
    assert branches == {"agree", "lost", "won"}
    assert taken(c) == pytest.approx(expected, rel=1e-4)


def test_labels_are_those_of_the_students_at_the_start_of_the_stage(
    tiny_data: PreparedData, scratch: Path
) -> None:
    c = case(DmtConfig(fractions=(0.6, 1.0)), tiny_data, scratch)
    name = c.trainer.split.unlabelled[0]
    image = torch.from_numpy(
        np.array(tiny_data.image("train", tiny_data.index("train", name)))
    ).permute(2, 0, 1)
    for i, output in enumerate(c.learners.predict("students", image[None].float() / 255)):
        store = c.method.initial_labels()[i]
        np.testing.assert_allclose(store.whole(name), output.logits[0].softmax(0), atol=5e-4)  # type: ignore[attr-defined]


def test_in_training_crops_the_wanted_share_of_every_class_is_kept(
    tiny_data: PreparedData, scratch: Path
) -> None:
    """Also with random scales, and where the network's map has few cells: 6 × 4 for a crop here."""
    c = case(DmtConfig(fractions=(0.3, 1.0)), tiny_data, scratch)
    assert isinstance(c.method, DynamicMutualTraining)
    kept = np.zeros((2, 8))
    seen = np.zeros((2, 8))
    for step in range(40):
        batch = c.trainer.batches.batch(
            1, step, with_unlabelled=True, initial=c.method.initial_labels()
        )
        assert batch.unlabelled is not None
        inside = batch.unlabelled.inside
        for i, prob in enumerate(batch.unlabelled.initial):
            label, _, bins = confident_class(
                prob, c.learners.student(i), (inside.shape[-2], inside.shape[-1])
            )
            keep = bins >= c.method.tensors()[f"threshold/{i + 1}"][label]
            seen[i] += np.bincount(label[inside].numpy(), minlength=8)
            kept[i] += np.bincount(label[inside & keep].numpy(), minlength=8)
    often = seen > 0.05 * seen.sum(axis=1, keepdims=True)
    assert often.sum() >= 2
    share = kept[often] / seen[often]
    assert (share > 0.15).all() and (share < 0.5).all(), share
