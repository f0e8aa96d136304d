"""The losses of the published comparators against an independent NumPy reference, from the
networks' outputs on."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.methods.comparators.classmix import ClassMixConfig
from rml_trainers.methods.comparators.cowmix import CowMixConfig
from rml_trainers.methods.comparators.cps import CpsConfig
from rml_trainers.methods.comparators.cutmix_seg import CutMixSegConfig
from rml_trainers.methods.comparators.ict import IctConfig
from rml_trainers.noise.config import GeometryConfig
from rml_trainers.noise.mixing import BoxDraw
from rml_trainers.noise.mixing_masks import ClassDraw, MaskDraw, ShareDraw
from tests.support.method_case import Array, Case, case, mean_cross_entropy, softmax, taken

Mask = npt.NDArray[np.bool_]
pytestmark = pytest.mark.usefixtures("single_thread")
PADDED = GeometryConfig(crop_px=(24, 32), scale=(0.45, 0.7))
"""Crops that overhang the image, so that padding has to be told from pixels."""


# --- the reference
# --------------------------------------------------------------------------------------------------


def pasted_pixels(c: Case, i: int, label: npt.NDArray[np.int64] | None = None) -> Mask:
    """Which pixels of two crops come from the other one, from what was drawn."""
    mixing = c.batch.noise[i].mixing
    if isinstance(mixing, MaskDraw):
        return mixing.pasted.numpy()
    mask = np.zeros((2, 24, 32), dtype=bool)
    for b, y, x in np.ndindex(*mask.shape):
        if isinstance(mixing, BoxDraw):
            boxes = mixing.boxes[b].tolist()
            mask[b, y, x] = (
                sum(top <= y < bottom and left <= x < right for top, left, bottom, right in boxes)
                % 2
            )
        else:
            assert isinstance(mixing, ClassDraw) and label is not None
            other = label[1 - b]
            present = sorted(
                set(other.ravel().tolist()) - {255}, key=mixing.keys[1 - b].tolist().__getitem__
            )
            mask[b, y, x] = other[y, x] in present[: len(present) // 2]
    return mask


def swap(maps: npt.NDArray[Any], mask: Mask) -> npt.NDArray[Any]:
    """Two maps [2, ..., H, W], each with the other's pixels where the mask says so."""
    return np.stack([np.where(mask[b], maps[1 - b], maps[b]) for b in (0, 1)])


def blend(maps: npt.NDArray[Any], share: list[float]) -> npt.NDArray[Any]:
    return np.stack([(1 - share[b]) * maps[b] + share[b] * maps[1 - b] for b in (0, 1)])


def weak(c: Case) -> npt.NDArray[np.float32]:
    assert c.batch.unlabelled is not None
    return (c.batch.unlabelled.image.float() / 255).numpy()


def inside(c: Case) -> Mask:
    assert c.batch.unlabelled is not None
    return c.batch.unlabelled.inside.numpy()


def logits_on(c: Case, images: npt.NDArray[Any], i: int = 0) -> Array:
    return c.student_logits(torch.from_numpy(images.astype(np.float32)), i)


def probabilities(logits: Array) -> Array:
    return np.stack([softmax(image) for image in logits])


def weighted_squares(
    student: Array, target: Array, confidence: Array, valid: Mask, threshold: float
) -> float:
    """Share of confident pixels times the mean of Σ_k (p_k − q_k)²; both over the valid pixels
    only."""
    squares = []
    confident = []
    for b, y, x in np.ndindex(*valid.shape):
        if valid[b, y, x]:
            squares.append(
                sum(
                    (p - q) ** 2
                    for p, q in zip(student[b, :, y, x], target[b, :, y, x], strict=True)
                )
            )
            confident.append(confidence[b, y, x] >= threshold)
    assert 0 < sum(confident) < len(confident), "the case must hold confident and other pixels"
    return float(np.mean(confident) * np.mean(squares))


def vary_predictions(c: Case) -> None:
    """Shift the teacher's logits so that it predicts several classes in every image."""
    offset = torch.from_numpy(c.scores("teachers", 0).mean(axis=(0, 2, 3))).float()
    bias = next(p for p in c.learners.teacher(0).parameters() if p.shape == offset.shape)
    with torch.no_grad():
        bias.sub_(offset)


def middle_confidence(c: Case) -> float:
    return float(np.median(probabilities(c.scores("teachers", 0)).max(axis=1)))


# --- the methods
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [CutMixSegConfig, CowMixConfig], ids=["cutmix_seg", "cowmix"])
def test_squared_error_on_mixed_images(config: Any, tiny_data: PreparedData, scratch: Path) -> None:
    threshold = middle_confidence(
        case(config(photometric="none"), tiny_data, scratch, geometry=PADDED)
    )
    c = case(config(photometric="none", confidence=threshold), tiny_data, scratch, geometry=PADDED)
    assert not inside(c).all()
    mask = pasted_pixels(c, 0)
    target = swap(probabilities(c.scores("teachers", 0)), mask)
    student = probabilities(logits_on(c, swap(weak(c), mask)))
    unsupervised = weighted_squares(
        student, target, target.max(axis=1), swap(inside(c), mask), threshold
    )
    assert taken(c) == pytest.approx(c.supervised(0) + unsupervised, rel=1e-4)


def test_class_mix_pastes_predicted_classes_and_weighs_by_confidence(
    tiny_data: PreparedData, scratch: Path
) -> None:
    first = case(ClassMixConfig(), tiny_data, scratch, geometry=PADDED)
    vary_predictions(first)
    threshold = middle_confidence(first)
    c = case(ClassMixConfig(confidence=threshold), tiny_data, scratch, geometry=PADDED)
    vary_predictions(c)
    scores = c.scores("teachers", 0)
    label = c.hard(scores)
    mask = pasted_pixels(c, 0, label)
    assert mask.any() and not mask.all()
    mixed = swap(label, mask)
    confidence = swap(probabilities(scores).max(axis=1), mask)
    valid = mixed != 255
    share = float(np.mean(confidence[valid] >= threshold))
    assert 0 < share < 1 and not valid.all()
    draw = c.batch.noise[0]
    assert draw.photometric is not None
    strong = draw.photometric.apply(
        torch.from_numpy(swap(weak(c), mask))
    ).numpy()  # colour noise comes last
    expected = c.supervised(0) + share * mean_cross_entropy(logits_on(c, strong), mixed)
    assert taken(c) == pytest.approx(expected, rel=1e-4)


def test_interpolation_consistency_and_its_ramp(tiny_data: PreparedData, scratch: Path) -> None:
    middle = middle_confidence(
        case(IctConfig(photometric="none", alpha=2.0), tiny_data, scratch, geometry=PADDED)
    )
    config = IctConfig(
        photometric="none", alpha=2.0, weight=30.0, confidence=middle, ramp_up_steps=4
    )
    c = case(config, tiny_data, scratch, geometry=PADDED)
    mixing = c.batch.noise[0].mixing
    assert isinstance(mixing, ShareDraw)
    share = mixing.share.tolist()
    prob = probabilities(c.scores("teachers", 0))
    student = probabilities(logits_on(c, blend(weak(c), share)))
    larger = np.stack([inside(c)[1 - b if share[b] > 0.5 else b] for b in (0, 1)])
    unsupervised = weighted_squares(
        student, blend(prob, share), blend(prob.max(axis=1), share), larger, middle
    )
    for step in range(6):
        ramp = math.exp(-5 * (1 - min(1.0, step / 4)) ** 2)
        assert taken(c) == pytest.approx(c.supervised(0) + 30.0 * ramp * unsupervised, rel=1e-4), (
            f"step {step}"
        )


@pytest.mark.parametrize("on_labelled", [True, False])
def test_cross_pseudo_supervision(
    on_labelled: bool, tiny_data: PreparedData, scratch: Path
) -> None:
    c = case(CpsConfig(on_labelled=on_labelled), tiny_data, scratch, geometry=PADDED)
    first, second = c.batch.labelled
    assert torch.equal(first.image, second.image) and torch.equal(first.label, second.label)
    mask = pasted_pixels(c, 0)
    np.testing.assert_array_equal(mask, pasted_pixels(c, 1))
    known = first.label.numpy() != 255
    assert not known.all()
    label = [c.hard(c.scores("students", i)) for i in (0, 1)]
    on_mixed = [logits_on(c, swap(weak(c), mask), i) for i in (0, 1)]
    on_first = [logits_on(c, (first.image.float() / 255).numpy(), i) for i in (0, 1)]
    expected = 0.0
    for i in (0, 1):
        unsupervised = mean_cross_entropy(on_mixed[i], swap(label[1 - i], mask))
        if on_labelled:
            unsupervised += mean_cross_entropy(
                on_first[i], np.where(known, on_first[1 - i].argmax(axis=1), 255)
            )
        expected += c.supervised(i) + 1.5 * unsupervised
    assert taken(c) == pytest.approx(expected, rel=1e-4)
