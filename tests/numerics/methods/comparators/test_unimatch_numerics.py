"""The loss of UniMatch against plain loops, from the network's raw outputs on."""

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch.nn import functional

from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.methods.comparators.unimatch import UniMatchConfig
from rml_trainers.networks.network import SegmentationNetwork, SegmentationOutput
from rml_trainers.noise.input_noise import mix, strengthen
from tests.support.method_case import Array, Case, case, softmax, taken, upsample

pytestmark = pytest.mark.usefixtures("single_thread")
DROPOUT_SEED = 5


def over_valid(logits: Array, label: npt.NDArray[np.int64], valid: npt.NDArray[np.bool_]) -> float:
    """Sum over the pixels with a label, divided by the number of valid ones."""
    total = 0.0
    for b, y, x in np.ndindex(*label.shape):
        if label[b, y, x] != 255:
            total -= math.log(softmax(logits[b, :, y, x])[label[b, y, x]])
    return total / int(valid.sum())


def perturbed(c: Case, probability: float) -> Array:
    """Logits of the weak view with whole channels of its feature dropped, as the step draws
    them."""
    assert c.batch.unlabelled is not None
    student = c.learners.student(0)
    images = c.batch.unlabelled.image.float() / 255
    with torch.no_grad():
        feature = student(images).feature
        torch.manual_seed(DROPOUT_SEED)
        kept = functional.dropout2d(torch.ones(*feature.shape[:2], 1, 1), probability)
        small = student.classify(feature * kept).logits.double().numpy()
    assert probability == 0 or {0.0, 1 / (1 - probability)} == set(kept.flatten().tolist())
    return np.stack([upsample(maps, images.shape[-2], images.shape[-1]) for maps in small])


@pytest.mark.parametrize(("quantile", "probability"), [(0.0, 0.0), (0.6, 0.5)])
def test_the_loss_is_that_of_the_paper(
    quantile: float, probability: float, tiny_data: PreparedData, scratch: Path
) -> None:
    first = case(UniMatchConfig(), tiny_data, scratch)
    confidence = np.stack([softmax(s).max(axis=0) for s in first.scores("students", 0)])
    threshold = float(np.quantile(confidence, quantile)) if quantile else 0.0
    method = UniMatchConfig(
        threshold=threshold,
        channel_dropout=probability,
        strong_weight=0.4,
        feature_weight=0.7,
        box_probability=1.0,
    )
    c = case(method, tiny_data, scratch)
    assert c.batch.unlabelled is not None and len(c.batch.noise) == 2
    images = c.batch.unlabelled.image.float() / 255
    inside = c.batch.unlabelled.inside
    label = np.where(confidence > threshold, c.hard(c.scores("students", 0)), 255)
    if quantile:
        assert 0 < (label != 255).sum() < int(inside.sum()), (
            "the case must drop some pixels and keep others"
        )
    strong = []
    for draw in c.batch.noise:
        logits = c.student_logits(strengthen(images, draw), 0)
        mixed = mix(torch.from_numpy(label), draw).numpy()
        strong.append(over_valid(logits, mixed, mix(inside, draw).numpy()))
    feature = over_valid(perturbed(c, probability), label, inside.numpy())
    assert abs(strong[0] - strong[1]) > 1e-6, "both views must differ"
    torch.manual_seed(DROPOUT_SEED)
    expected = 0.5 * (c.supervised(0) + 0.2 * strong[0] + 0.2 * strong[1] + 0.7 * feature)
    assert taken(c) == pytest.approx(expected, rel=1e-4)


def test_one_forward_labels_and_one_learns(
    tiny_data: PreparedData, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    c = case(UniMatchConfig(), tiny_data, scratch)
    network = type(c.learners.student(0))
    forward = network.forward
    seen = []

    def watched(self: SegmentationNetwork, images: torch.Tensor) -> SegmentationOutput:
        seen.append((len(images), torch.is_grad_enabled()))
        return forward(self, images)

    monkeypatch.setattr(network, "forward", watched)
    taken(c)
    assert seen == [(2, False), (2 + 2 + 2 + 2, True)]
