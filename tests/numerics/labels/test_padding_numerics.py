"""What lies in the padding of a crop has no part in prototypes, mixture, ω and what is told of it:
all of it is as of crops without padding."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from rml_trainers import IGNORE_LABEL
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.labels.cells import at_cells
from rml_trainers.labels.rectification import Rectifier
from rml_trainers.methods.paper.rml import RmlConfig, RobustMutualLearning
from rml_trainers.networks.network import SegmentationOutput
from rml_trainers.noise.config import GeometryConfig
from tests.support.method_case import Case, case

pytestmark = pytest.mark.usefixtures("single_thread")
K = 4
D = 7
SIZE = (6, 8)
IMAGE = (4, 5)
"""Cells of the crop that are image, from the upper left."""


def maps(*shape: int, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """Maps of two crops, and the same with something else in their padding."""
    of_image = torch.randn(2, *shape, *SIZE)
    other = scale * torch.randn(2, *shape, *SIZE)
    other[..., : IMAGE[0], : IMAGE[1]] = of_image[..., : IMAGE[0], : IMAGE[1]]
    return of_image, other


def cut(values: Tensor) -> Tensor:
    return values[..., : IMAGE[0], : IMAGE[1]]


def begun(config: RmlConfig) -> Rectifier:
    torch.manual_seed(3)
    rectifier = Rectifier(config, K, torch.device("cpu"))
    feature = torch.randn(2, D, *SIZE)
    rectifier.gather(SegmentationOutput(torch.randn(2, K, *SIZE), feature, None))
    rectifier.begin()
    return rectifier


@pytest.mark.parametrize("distance", ["euclidean", "relative"])
@pytest.mark.parametrize("mixture", ["uniform", "estimated"])
def test_padding_changes_nothing(
    distance: Literal["euclidean", "relative"], mixture: Literal["uniform", "estimated"]
) -> None:
    config = RmlConfig(min_cells=1, distance=distance, mixture=mixture, prototype_momentum=0.7)
    torch.manual_seed(0)
    _, features = maps(D, scale=5.0)
    _, logits = maps(K, scale=5.0)
    _, initial = maps(K, scale=5.0)
    inside = torch.zeros(2, *SIZE, dtype=torch.bool)
    cut(inside).fill_(True)

    with_padding = begun(config)
    output = SegmentationOutput(logits, features, None)
    scores, scalars = with_padding.rectify(output, initial.log_softmax(1), inside)
    with_padding.update(output, inside)

    without = begun(config)
    image = SegmentationOutput(cut(logits), cut(features), None)
    wanted, told = without.rectify(image, cut(initial.log_softmax(1)))
    without.update(image)

    torch.testing.assert_close(cut(scores), wanted)
    assert {name: float(value) for name, value in scalars.items()} == {
        name: pytest.approx(float(value), rel=1e-5) for name, value in told.items()
    }
    for name, tensor in without.tensors().items():
        torch.testing.assert_close(with_padding.tensors()[name], tensor)


@pytest.mark.parametrize("mixture", ["uniform", "estimated"])
def test_crops_that_are_all_padding_change_nothing(
    mixture: Literal["uniform", "estimated"],
) -> None:
    rectifier = begun(RmlConfig(min_cells=1, distance="relative", mixture=mixture))
    before = {name: tensor.clone() for name, tensor in rectifier.tensors().items()}
    torch.manual_seed(0)
    output = SegmentationOutput(torch.randn(2, K, *SIZE), torch.randn(2, D, *SIZE), None)
    nowhere = torch.zeros(2, *SIZE, dtype=torch.bool)
    scores, scalars = rectifier.rectify(output, torch.randn(2, K, *SIZE), nowhere)
    rectifier.update(output, nowhere)
    assert torch.isfinite(scores).all()
    assert {float(value) for value in scalars.values()} == {0.0}
    for name, tensor in before.items():
        assert torch.equal(rectifier.tensors()[name], tensor)


def moved_by_hand(c: Case, number: int, before: dict[str, Tensor], momentum: float) -> Any:
    """Eq. 11 in loops over the cells that are not padding."""
    assert c.batch.unlabelled is not None
    images = c.batch.unlabelled.image.float() / 255
    output = c.learners.label("teachers", images)[number]
    label = output.logits.argmax(1)
    inside = c.batch.unlabelled.inside
    cells = (label.shape[-2], label.shape[-1])
    counts = at_cells(inside, cells, align_corners=c.learners.student(number).align_corners)
    label = torch.where(counts, label, IGNORE_LABEL)
    assert 0 < int((~counts).sum()) < counts.numel(), "some cells are padding"
    moved = before["prototypes"].clone()
    for k in range(len(moved)):
        means = [
            output.feature[b][:, label[b] == k].mean(1)
            for b in range(len(label))
            if bool((label[b] == k).any())
        ]
        if means:
            new = torch.stack(means).mean(0)
            seen = bool(before["seen"][k])
            moved[k] = momentum * before["prototypes"][k] + (1 - momentum) * new if seen else new
    return moved


def test_a_step_of_crops_that_overhang_moves_prototypes_by_their_images(
    tiny_data: PreparedData, tmp_path: Path
) -> None:
    config = RmlConfig(min_cells=1, prototype_momentum=0.5)
    geometry = GeometryConfig(crop_px=(64, 96), scale=(0.8, 1.0))
    c = case(config, tiny_data, tmp_path, geometry=geometry)
    assert isinstance(c.method, RobustMutualLearning)
    before = [
        {name: tensor.clone() for name, tensor in rectifier.tensors().items()}
        for rectifier in c.method.rectifiers
    ]
    with torch.no_grad():
        wanted = [moved_by_hand(c, number, before[number], 0.5) for number in range(2)]
    c.method.step(c.batch, c.learners)
    for rectifier, prototypes in zip(c.method.rectifiers, wanted, strict=True):
        found = rectifier.tensors()["prototypes"].numpy()
        np.testing.assert_allclose(found, prototypes.numpy(), rtol=1e-4, atol=1e-5)
