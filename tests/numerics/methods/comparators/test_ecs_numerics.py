"""Error-correcting supervision against plain loops: what the corrector says, what it is to say,
the targets that are made of it, and both losses."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from rml_trainers.config import LabelledLossConfig, ScheduleConfig
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.methods.comparators.adversarial.ecs import (
    Corrector,
    EcsConfig,
    ErrorCorrectingSupervision,
)
from rml_trainers.noise.config import GeometryConfig
from tests.support.method_case import (
    Array,
    Case,
    Labels,
    Seen,
    case,
    convolution,
    hide_labels,
    mean_cross_entropy,
    mean_log_loss,
    softmax,
    upsample,
)
from tests.support.tiny import tiny_config

pytestmark = pytest.mark.usefixtures("single_thread")
CROP_PX = (40, 56)
"""Larger than the images of 32×48: crops overhang."""
SPACING = [(2, 1), (2, 1), (1, 2), (1, 4), (1, 8)]
"""Stride and dilation of the corrector's convolutions."""
ECS = EcsConfig(regulariser_weight=0.3, weight=0.7, correction_start=0, corrector_width=8)


def group_norm(maps: Array, layer: nn.GroupNorm) -> Array:
    weight, bias = (p.detach().double().numpy() for p in (layer.weight, layer.bias))
    out = np.zeros_like(maps)
    size = len(maps) // layer.num_groups
    for first in range(0, len(maps), size):
        group = maps[first : first + size]
        spread = math.sqrt(float(group.var()) + layer.eps)
        for channel in range(first, first + size):
            normal = (maps[channel] - group.mean()) / spread
            out[channel] = weight[channel] * normal + bias[channel]
    return out


def answers(module: nn.Module, prob: Array, images: Array) -> Array:
    """[B, K + 1, H, W]: probabilities of the corrector's answers."""
    assert isinstance(module, Corrector)
    convolutions = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]
    for layer, (stride, dilation) in zip(convolutions, [*SPACING, (1, 1)], strict=True):
        wanted = ((stride, stride), (dilation, dilation))
        assert (layer.stride, layer.dilation) == wanted
    found = []
    for maps, image in zip(prob, images, strict=True):
        maps = np.concatenate([maps, image])
        for block in module.blocks:
            conv, norm, _ = block.children()
            assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.GroupNorm)
            maps = np.maximum(group_norm(convolution(maps, conv), norm), 0)
        weight = module.classifier.weight.detach().double().numpy()[:, :, 0, 0]
        assert module.classifier.bias is not None
        bias = module.classifier.bias.detach().double().numpy()
        logits = np.einsum("oc,chw->ohw", weight, maps) + bias[:, None, None]
        found.append(softmax(upsample(logits, image.shape[1], image.shape[2])))
    return np.stack(found)


def corrector(made: Case) -> Corrector:
    assert isinstance(made.method, ErrorCorrectingSupervision)
    module = made.method.judge.module
    assert isinstance(module, Corrector)
    return module


def made(data: PreparedData, work_dir: Path, method: EcsConfig = ECS, **changes: Any) -> Case:
    """With a corrector that is of some certainty, and says "correct" of half of the unlabelled
    pixels."""
    found = case(method, data, work_dir, **{"geometry": GeometryConfig(crop_px=CROP_PX), **changes})
    hide_labels(found)
    assert found.batch.unlabelled is not None
    images = found.batch.unlabelled.image.float() / 255
    module = corrector(found)
    with torch.no_grad():
        prob = logits_of(found, images).softmax(dim=1)
        module.classifier.weight.mul_(12)
        scores = module(prob, images)
        lead = scores[:, :-1].amax(dim=1) - scores[:, -1]
        assert module.classifier.bias is not None
        module.classifier.bias[-1] += lead[found.batch.unlabelled.inside].median()
    return found


def logits_of(made: Case, images: Tensor) -> Tensor:
    """The student's, [B, K, H, W], corners on corners, with gradient."""
    size = (images.shape[-2], images.shape[-1])
    small = made.learners.student(0)(images).logits
    return functional.interpolate(small, size=size, mode="bilinear", align_corners=True)


class Parts(Seen):
    """All that the losses are made of, pixel by pixel."""

    def __init__(self, c: Case) -> None:
        super().__init__(c)
        self.answer = answers(corrector(c), self.prob, self.images)
        self.answer_u = answers(corrector(c), self.prob_u, self.images_u)

    def target(self) -> tuple[Labels, Array]:
        """The class of every unlabelled pixel, 255 outside, and its weight."""
        num_classes = self.logits.shape[1]
        label = np.full(self.inside.shape, 255, dtype=np.int64)
        weight = np.zeros(self.inside.shape)
        for b, y, x in np.ndindex(*self.inside.shape):
            if not self.inside[b, y, x]:
                continue
            said = int(self.answer_u[b, :, y, x].argmax())
            own = int(self.logits_u[b, :, y, x].argmax())
            label[b, y, x] = own if said == num_classes else said
            weight[b, y, x] = self.answer_u[b, said, y, x]
        return label, weight

    def right_answer(self) -> Labels:
        """What the corrector should say of every labelled pixel; 255 where nobody knows."""
        right = np.full(self.label.shape, 255, dtype=np.int64)
        for b, y, x in np.ndindex(*self.label.shape):
            truth = int(self.label[b, y, x])
            if truth != 255:
                is_correct = int(self.logits[b, :, y, x].argmax()) == truth
                right[b, y, x] = self.logits.shape[1] if is_correct else truth
        return right


def test_both_losses(tiny_data: PreparedData, scratch: Path) -> None:
    c = made(tiny_data, scratch)
    parts = Parts(c)
    num_classes = parts.logits.shape[1]
    label, weight = parts.target()
    own = parts.logits_u.argmax(axis=1)
    said = parts.answer_u.argmax(axis=1)[parts.inside]
    assert 0 < (said == num_classes).sum() < said.size, "some are kept, some amended"
    assert weight[parts.inside].std() > 0.02
    correct = np.where(parts.known, num_classes, 255)
    regulariser = mean_log_loss(parts.answer, correct)
    unsupervised = mean_log_loss(parts.prob_u, label, weight)
    supervised = mean_cross_entropy(parts.logits, parts.label)

    result = c.method.step(c.batch, c.learners)
    told = {name: float(value) for name, value in result.scalars.items()}
    assert told["loss_supervised_1"] == pytest.approx(supervised, rel=1e-4)
    assert told["loss_regulariser_1"] == pytest.approx(regulariser, rel=1e-4)
    assert told["loss_unsupervised_1"] == pytest.approx(unsupervised, rel=1e-4)
    whole = supervised + 0.3 * regulariser + 0.7 * unsupervised
    assert float(result.loss.detach()) == pytest.approx(whole, rel=1e-4)
    assert told["amended"] == pytest.approx((label != own)[parts.inside].mean())
    assert told["certainty"] == pytest.approx(weight[parts.inside].mean(), rel=1e-4)

    right = parts.right_answer()
    assert 0 < (right == num_classes).sum() < parts.known.sum()
    wanted = mean_log_loss(parts.answer, right)
    assert float(result.own_losses["corrector"].detach()) == pytest.approx(wanted, rel=1e-4)


def test_the_runs_weight_and_loss_on_labels_count(tiny_data: PreparedData, scratch: Path) -> None:
    hardest = LabelledLossConfig(hard_examples=0.001, hard_fraction=0.25)
    c = made(tiny_data, scratch, unsupervised_weight=0.5, labelled_loss=hardest)
    told = c.method.step(c.batch, c.learners).scalars
    plain = made(tiny_data, scratch)
    scalars = plain.method.step(plain.batch, plain.learners).scalars
    supervised = float(told["loss_supervised_1"])
    assert abs(supervised - float(scalars["loss_supervised_1"])) > 1e-3
    whole = supervised + 0.3 * float(told["loss_regulariser_1"])
    whole += 0.5 * 0.7 * float(told["loss_unsupervised_1"])
    assert float(told["loss"]) == pytest.approx(whole, rel=1e-5)


def test_the_student_learns_from_fixed_targets_and_through_its_probabilities(
    tiny_data: PreparedData, scratch: Path
) -> None:
    """The gradient of every weight against plain autograd, in which targets and certainties of the
    loops are constants."""
    c = made(tiny_data, scratch)
    assert c.batch.unlabelled is not None
    label, weight = Parts(c).target()
    crops = c.batch.labelled[0]
    student = c.learners.student(0)

    images = crops.image.float() / 255
    logits = logits_of(c, images)
    answer = corrector(c)(logits.softmax(dim=1), images).log_softmax(dim=1)
    regulariser = -answer[:, -1][crops.label != 255].mean()
    on_weak = logits_of(c, c.batch.unlabelled.image.float() / 255)
    per_pixel = functional.cross_entropy(
        on_weak, torch.from_numpy(label), ignore_index=255, reduction="none"
    )
    inside = c.batch.unlabelled.inside
    unsupervised = (torch.from_numpy(weight).float() * per_pixel)[inside].mean()
    supervised = functional.cross_entropy(logits, crops.label.long(), ignore_index=255)
    named = {name: p for name, p in student.named_parameters() if p.requires_grad}
    loss = supervised + 0.3 * regulariser + 0.7 * unsupervised
    wanted = torch.autograd.grad(loss, list(named.values()))

    c.method.step(c.batch, c.learners).loss.backward()  # type: ignore[no-untyped-call]
    for (name, parameter), gradient in zip(named.items(), wanted, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-3, atol=1e-5, msg=name)


def test_the_regulariser_rewards_predictions_that_the_corrector_calls_correct(
    tiny_data: PreparedData, scratch: Path
) -> None:
    """A small step of a student with nothing else to learn raises the probability of "correct"."""
    c = made(tiny_data, scratch, replace(ECS, weight=0.0, regulariser_weight=1e4))
    result = c.method.step(c.batch, c.learners)
    before = float(result.scalars["loss_regulariser_1"])
    result.loss.backward()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for parameter in c.learners.parameters():
            if parameter.grad is not None:
                parameter.sub_(1e-7 * parameter.grad)
    after = c.method.step(c.batch, c.learners).scalars["loss_regulariser_1"]
    assert float(after) < before


def test_before_its_start_no_target_teaches(tiny_data: PreparedData, scratch: Path) -> None:
    c = made(tiny_data, scratch, replace(ECS, correction_start=2))
    told = [c.method.step(c.batch, c.learners).scalars for _ in range(3)]
    assert [float(each["loss_unsupervised_1"]) for each in told[:2]] == [0, 0]
    assert float(told[2]["loss_unsupervised_1"]) > 0
    assert set(c.method.tensors()) == {"num_steps"}
    again = made(tiny_data, scratch, replace(ECS, correction_start=2))
    again.method.load_tensors(c.method.tensors())
    scalars = again.method.step(again.batch, again.learners).scalars
    assert float(scalars["loss_unsupervised_1"]) == float(told[2]["loss_unsupervised_1"])


def test_a_corrector_learns_to_find_and_to_amend_mistakes() -> None:
    """The student takes every pixel for class 0 or 1; where the image is red, class 2 is there."""
    generator = torch.Generator().manual_seed(5)
    truth = torch.randint(0, 3, (4, 4, 4), generator=generator).repeat_interleave(6, 1)
    truth = truth.repeat_interleave(6, 2)
    images = 0.1 * torch.rand(4, 3, 24, 24, generator=generator)
    images[:, 0] += (truth == 2).float()
    said = torch.where(truth == 2, 1, truth)
    prob = functional.one_hot(said, 3).permute(0, 3, 1, 2).float()
    torch.manual_seed(0)
    module = Corrector(3, 8)
    optimiser = torch.optim.Adam(module.parameters(), lr=1e-2)
    right_answer = torch.where(said == truth, 3, truth)
    for _ in range(80):
        optimiser.zero_grad()
        functional.cross_entropy(module(prob, images), right_answer).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    answer = module(prob, images).argmax(dim=1)
    assert float((answer == right_answer).float().mean()) > 0.9
    amended = torch.where(answer == 3, said, answer)
    assert float((amended == truth).float().mean()) > float((said == truth).float().mean()) + 0.2


@pytest.mark.parametrize("size_px", [(1, 1), (5, 7), (33, 48)])
def test_a_corrector_answers_for_every_pixel(size_px: tuple[int, int]) -> None:
    answer = Corrector(5, 8)(torch.rand(2, 5, *size_px), torch.rand(2, 3, *size_px))
    assert answer.shape == (2, 6, *size_px)
    assert bool(answer.isfinite().all())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weight": -1.0}, r"weight = -1.0: expected zero or more"),
        ({"regulariser_weight": -1.0}, r"regulariser_weight = -1.0: expected zero or more"),
        ({"correction_start": -1}, r"correction_start = -1: expected zero or more"),
        ({"corrector_lr": 0.0}, r"corrector_lr = 0.0: expected a positive number"),
        ({"corrector_width": 12}, r"corrector_width = 12: expected a positive multiple of 8"),
    ],
)
def test_wrong_settings_are_told(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EcsConfig(**settings)


def test_a_start_after_the_end_of_a_stage_is_told() -> None:
    message = r"method\.correction_start = 6: expected less than .*stage_steps, 5"
    with pytest.raises(ValueError, match=message):
        tiny_config(
            "ecs",
            method=replace(ECS, correction_start=6),
            schedule=ScheduleConfig(warm_up_steps=0, stage_steps=(9, 5)),
        )
