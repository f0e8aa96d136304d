"""The loss of every method (Eq. 1 to 6) against an independent NumPy reference, from the networks'
raw outputs on."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.methods.paper.iml import ImlConfig
from rml_trainers.methods.paper.pseudo_label import PseudoLabelConfig
from rml_trainers.methods.paper.rml import RmlConfig, RobustMutualLearning
from tests.support.method_case import Array, case, softmax, taken, upsample
from tests.support.tiny import METHOD_CONFIGS

pytestmark = pytest.mark.usefixtures("single_thread")


def confidence(feature: Array, prototypes: Array, temperature: float) -> Array:
    """Eq. 9 with uniform π: [K, h, w] from a feature map [D, h, w]."""
    omega = np.zeros((len(prototypes), *feature.shape[1:]))
    for y, x in np.ndindex(*feature.shape[1:]):
        distance = [math.sqrt(((feature[:, y, x] - eta) ** 2).sum()) for eta in prototypes]
        weights = [math.exp(-(d - min(distance)) / temperature) for d in distance]
        omega[:, y, x] = np.array(weights) / sum(weights)
    return omega


def test_supervised_is_eq_1(tiny_data: PreparedData, scratch: Path) -> None:
    c = case(METHOD_CONFIGS["supervised"], tiny_data, scratch)
    assert taken(c) == pytest.approx(c.supervised(0), rel=1e-4)


@pytest.mark.parametrize("quantile", [0.0, 0.5])
def test_pseudo_label_is_eq_2(quantile: float, tiny_data: PreparedData, scratch: Path) -> None:
    without = case(PseudoLabelConfig(threshold=0.0), tiny_data, scratch)
    confidence_map = np.stack([softmax(s).max(axis=0) for s in without.scores("students", 0)])
    threshold = float(np.quantile(confidence_map, quantile)) if quantile else 0.0
    c = case(PseudoLabelConfig(threshold=threshold), tiny_data, scratch)
    label = c.hard(c.scores("students", 0))
    kept = np.where(confidence_map > threshold, label, 255)
    if quantile:
        assert 0 < (kept != 255).sum() < (label != 255).sum(), (
            "the case must drop some pixels and keep others"
        )
    assert taken(c) == pytest.approx(c.supervised(0) + c.unsupervised(0, [kept]), rel=1e-3)


def test_mean_teacher_learns_from_its_own_teacher(tiny_data: PreparedData, scratch: Path) -> None:
    c = case(METHOD_CONFIGS["mean_teacher"], tiny_data, scratch)
    expected = c.supervised(0) + c.unsupervised(0, [c.hard(c.scores("teachers", 0))])
    assert taken(c) == pytest.approx(expected, rel=1e-4)


def test_mutual_direct_is_eq_3(tiny_data: PreparedData, scratch: Path) -> None:
    c = case(METHOD_CONFIGS["mutual_direct"], tiny_data, scratch)
    label = [c.hard(c.scores("students", i)) for i in (0, 1)]
    expected = sum(c.supervised(i) + c.unsupervised(i, [label[1 - i]]) for i in (0, 1))
    assert taken(c) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("own_teacher", [True, False])
def test_iml_is_eq_5(own_teacher: bool, tiny_data: PreparedData, scratch: Path) -> None:
    c = case(ImlConfig(own_teacher=own_teacher), tiny_data, scratch)
    label = [c.hard(c.scores("teachers", i)) for i in (0, 1)]
    expected = 0.0
    for i in (0, 1):
        targets = label if own_teacher else [label[1 - i]]
        expected += c.supervised(i) + c.unsupervised(i, targets)
    assert taken(c) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("initial_label", ["stage", "online"])
def test_rml_is_eq_6_and_9(initial_label: Any, tiny_data: PreparedData, scratch: Path) -> None:
    c = case(
        RmlConfig(initial_label=initial_label, min_cells=1, temperature=0.5), tiny_data, scratch
    )
    assert isinstance(c.method, RobustMutualLearning) and c.batch.unlabelled is not None
    images = c.batch.unlabelled.image.float() / 255
    label = []
    for i, output in enumerate(c.learners.label("teachers", images)):
        kept = c.method.rectifiers[i].tensors()
        assert bool(kept["seen"].any())
        eta = kept["prototypes"].double().numpy()
        unseen = ~kept["seen"].numpy()
        scores = []
        for b in range(len(images)):
            feature = output.feature[b].double().numpy()
            p_initial = softmax(output.logits[b].double().numpy())
            if initial_label == "stage":
                p_initial = np.maximum(c.batch.unlabelled.initial[i][b].double().numpy(), 1e-4)
            omega = (
                confidence(feature, eta, 0.5)
                if not unseen.any()
                else _with_unseen(feature, eta, unseen, 0.5)
            )
            scores.append(
                upsample(np.log(omega) + np.log(p_initial), images.shape[-2], images.shape[-1])
            )
        label.append(c.hard(np.stack(scores)))
    expected = sum(c.supervised(i) + c.unsupervised(i, label) for i in (0, 1))
    assert taken(c) == pytest.approx(expected, rel=1e-3)


def _with_unseen(
    feature: Array, eta: Array, unseen: npt.NDArray[np.bool_], temperature: float
) -> Array:
    """Eq. 9 where classes without prototype take the cell's mean distance."""
    omega = np.zeros((len(eta), *feature.shape[1:]))
    for y, x in np.ndindex(*feature.shape[1:]):
        distance = np.sqrt(((feature[:, y, x] - eta) ** 2).sum(axis=1))
        distance[unseen] = distance[~unseen].mean()
        weights = np.exp(-(distance - distance.min()) / temperature)
        omega[:, y, x] = weights / weights.sum()
    return omega


def test_rml_without_information_in_omega_is_iml(tiny_data: PreparedData, scratch: Path) -> None:
    """With T → ∞, ω is uniform and rectification must change nothing: both losses are the same."""
    rml = case(RmlConfig(initial_label="online", min_cells=1, temperature=1e9), tiny_data, scratch)
    iml = case(ImlConfig(), tiny_data, scratch)
    assert taken(rml) == pytest.approx(taken(iml), rel=1e-5)
