"""One step of meta pseudo labels against the equations, told again with plain torch and NumPy: the
student's update, what it gained on labels, and the teacher's update that follows from it."""

import copy
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from rml_trainers.config import OptimiserConfig
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.methods.comparators.meta_pseudo_label import MetaPseudoLabelConfig
from rml_trainers.networks.network import SegmentationNetwork
from rml_trainers.noise.input_noise import mix, strengthen
from tests.support.method_case import Array, Case, case, mean_cross_entropy, softmax, upsample

pytestmark = pytest.mark.usefixtures("single_thread")
METHOD = MetaPseudoLabelConfig(
    uda_weight=3.0, uda_threshold=0.0, uda_temperature=0.5, uda_ramp_steps=4
)
OPTIMISER = OptimiserConfig(lr=0.05, head_lr_factor=4.0, weight_decay=0.01)


def logits_of(network: SegmentationNetwork, images: Tensor) -> Tensor:
    """[B, K, H, W], corners on corners."""
    size = (images.shape[-2], images.shape[-1])
    small = network(images).logits
    return functional.interpolate(small, size=size, mode="bilinear", align_corners=True)


def descend(network: SegmentationNetwork, loss: Tensor) -> None:
    """The first step of SGD with momentum: gradient and weight decay, by hand."""
    named = {name: p for name, p in network.named_parameters() if p.requires_grad}
    gradients = torch.autograd.grad(loss, list(named.values()))
    head = {id(p) for p in network.head_parameters()}
    with torch.no_grad():
        for parameter, gradient in zip(named.values(), gradients, strict=True):
            lr = 0.05 * (4.0 if id(parameter) in head else 1.0)
            parameter.sub_(lr * (gradient + 0.01 * parameter))


def pixels(network: SegmentationNetwork, images: Tensor) -> Array:
    with torch.no_grad():
        small = network(images).logits.double().numpy()
    return np.stack([upsample(maps, images.shape[-2], images.shape[-1]) for maps in small])


class Step:
    """Everything that both networks see, and the teacher's labels of it."""

    def __init__(self, c: Case) -> None:
        assert c.batch.unlabelled is not None
        self.student = copy.deepcopy(c.learners.student(0))
        self.teacher = copy.deepcopy(c.learners.student(1))
        crops = c.batch.labelled[0]
        self.images = crops.image.float() / 255
        self.label: npt.NDArray[np.int64] = crops.label.numpy().astype(np.int64)
        weak = c.batch.unlabelled.image.float() / 255
        inside = c.batch.unlabelled.inside
        draw = c.batch.noise[0]
        self.strong = strengthen(weak, draw)
        scores = pixels(self.teacher, weak)
        hard = np.where(inside.numpy(), scores.argmax(axis=1), 255)
        self.hard: npt.NDArray[np.int64] = mix(torch.from_numpy(hard), draw).numpy()
        soft = np.stack([softmax(maps / METHOD.uda_temperature) for maps in scores])
        self.soft: Array = mix(torch.from_numpy(soft), draw).numpy()
        self.inside: npt.NDArray[np.bool_] = mix(inside, draw).numpy()

    def cross_entropy(self, network: SegmentationNetwork, label: npt.NDArray[np.int64]) -> Tensor:
        """On strong images, with gradient."""
        logits = logits_of(network, self.strong)
        return functional.cross_entropy(logits, torch.from_numpy(label), ignore_index=255)

    def on_labels(self) -> float:
        return mean_cross_entropy(pixels(self.student, self.images), self.label)


def test_the_teacher_learns_from_what_its_student_gained(
    tiny_data: PreparedData, scratch: Path
) -> None:
    c = case(METHOD, tiny_data, scratch, optimiser=OPTIMISER)
    step = Step(c)
    before = step.on_labels()
    student_loss = mean_cross_entropy(pixels(step.student, step.strong), step.hard)
    descend(step.student, step.cross_entropy(step.student, step.hard))
    gained = before - step.on_labels()
    assert abs(gained) > 1e-3, "the update must change the loss on labels"
    feedback = gained - 0.01 * gained

    own_logits = pixels(step.teacher, step.strong)
    own = np.where(step.inside, own_logits.argmax(axis=1), 255)
    log_prob = np.log(np.stack([softmax(maps) for maps in own_logits]))
    consistency = -(step.soft * log_prob).sum(axis=1)[step.inside].mean()
    supervised = mean_cross_entropy(pixels(step.teacher, step.images), step.label)
    teacher_loss = supervised + 3.0 * (1 / 4) * consistency
    teacher_loss += feedback * mean_cross_entropy(own_logits, own)

    logits = logits_of(step.teacher, step.strong)
    per_pixel = -(torch.from_numpy(step.soft) * logits.log_softmax(dim=1)).sum(dim=1)
    on_labels = functional.cross_entropy(
        logits_of(step.teacher, step.images), torch.from_numpy(step.label), ignore_index=255
    )
    meta = functional.cross_entropy(logits, torch.from_numpy(own), ignore_index=255)
    uda = per_pixel[torch.from_numpy(step.inside)].mean()
    descend(step.teacher, (on_labels + 0.75 * uda + feedback * meta).float())

    result = c.trainer.train_on(c.batch, warm_up=False, progress=0.0)
    told = {name: float(value) for name, value in result.scalars.items()}
    assert told["loss"] == pytest.approx(student_loss, rel=1e-4)
    assert told["feedback"] == pytest.approx(feedback, rel=1e-3)
    assert told["loss_teacher"] == pytest.approx(teacher_loss, rel=1e-4)
    for wanted, found in ((step.student, 0), (step.teacher, 1)):
        state = dict(c.learners.student(found).named_parameters())
        for name, parameter in wanted.named_parameters():
            torch.testing.assert_close(state[name], parameter, rtol=1e-3, atol=2e-5, msg=name)


def test_only_one_network_moves_at_a_time(tiny_data: PreparedData, scratch: Path) -> None:
    c = case(METHOD, tiny_data, scratch)
    result = c.method.step(c.batch, c.learners)
    result.loss.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for p in c.learners.student(1).parameters())
    assert any(p.grad is not None for p in c.learners.student(0).parameters())
    c.trainer.optimiser.clear()
    assert result.afterwards is not None
    later = result.afterwards()
    later.loss.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for p in c.learners.student(0).parameters())
    assert any(p.grad is not None for p in c.learners.student(1).parameters())
