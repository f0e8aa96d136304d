"""The networks of a run: students, their mean teachers, and the only ways to call them."""

import contextlib
import copy
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal, cast

import torch
from timm.layers import convert_sync_batchnorm
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from rml_trainers.device import autocast, compute_dtype
from rml_trainers.distributed import average_buffers, world_size
from rml_trainers.ema import MeanTeacherUpdate
from rml_trainers.networks import build_network
from rml_trainers.networks.network import SegmentationNetwork, SegmentationOutput
from rml_trainers.randomness import seed_model_noise

if TYPE_CHECKING:
    from rml_trainers.config import RunConfig

Labeller = Literal["students", "teachers"]


class _Students(nn.Module):
    """All students as one module, so that one DDP wrapper overlaps the all-reduce of both."""

    def __init__(self, networks: Sequence[SegmentationNetwork]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, *images: Tensor) -> tuple[SegmentationOutput, ...]:
        return tuple(network(x) for network, x in zip(self.networks, images, strict=True))


class Learners:
    """Students θ_i and mean teachers θ̃_i of one run on one device.

    Students differ by the random initialisation of their heads (and of everything else without pretrained weights);
    each teacher begins as a copy of its student.
    """

    def __init__(self, config: "RunConfig", num_classes: int, device: torch.device) -> None:
        self._config = config
        self._num_classes = num_classes
        self.device = device
        self._dtype = compute_dtype(config.precision, device)
        students = self._initial_students()
        if config.sync_batchnorm:
            # timm's own conversion: torch's drops the activation inside the BatchNorm layers of EfficientNets.
            students = [cast(SegmentationNetwork, convert_sync_batchnorm(s)) for s in students]
        joint = _Students(students).to(device).to(memory_format=torch.channels_last)
        self.students = joint.networks
        self.teachers = copy.deepcopy(self.students).requires_grad_(False)
        self.teachers.train(config.teacher.mode == "train")
        self._joint: nn.Module = joint
        if world_size() > 1:
            self._joint = DistributedDataParallel(joint, broadcast_buffers=False, gradient_as_bucket_view=True)
        self._update_teachers = MeanTeacherUpdate(self.students, self.teachers, config.teacher.ema_decay)

    def _initial_students(self) -> list[SegmentationNetwork]:
        students = []
        for number, network in enumerate(self._config.student_networks):
            seed_model_noise(self._config.seed, "initialise", number)
            students.append(build_network(network, self._num_classes, self._config.noise))
        return students

    @property
    def num_students(self) -> int:
        return len(self.students)

    def student(self, number: int) -> SegmentationNetwork:
        """Student by number, from 0."""
        return cast(SegmentationNetwork, self.students[number])

    def teacher(self, number: int) -> SegmentationNetwork:
        """Mean teacher of a student by number, from 0."""
        return cast(SegmentationNetwork, self.teachers[number])

    def parameters(self) -> Iterator[nn.Parameter]:
        """Trainable parameters of all students."""
        return (p for p in self.students.parameters() if p.requires_grad)

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """The precision that networks run in."""
        return autocast(self.device, self._dtype)

    def forward_students(self, images: Sequence[Tensor]) -> tuple[SegmentationOutput, ...]:
        """One forward per student, with gradient: images[i] is [B, 3, H, W] in [0, 1] for student i."""
        self.students.train()
        with self.autocast():
            return cast(tuple[SegmentationOutput, ...], self._joint(*(_channels_last(x) for x in images)))

    def classify(self, student: int, feature: Tensor) -> SegmentationOutput:
        """Head of one student, with gradient, on a map [B, D, h, w] that comes from `forward_students`.

        Between workers nothing more is needed: a parameter exchanges its gradient once all its uses have given theirs.
        """
        with self.autocast():
            return self.student(student).classify(feature)

    @torch.no_grad()
    def label(self, labeller: Labeller, images: Tensor) -> tuple[SegmentationOutput, ...]:
        """Outputs of every student or every teacher on the same images, without gradient.

        Teachers run as `teacher.mode` says; a student that labels runs in the same mode and learns nothing from it.
        """
        networks = self.teachers if labeller == "teachers" else self.students
        networks.train(self._config.teacher.mode == "train")
        images = _channels_last(images)
        with self.autocast():
            return tuple(network(images) for network in networks)

    @torch.no_grad()
    def predict(self, labeller: Labeller, images: Tensor) -> tuple[SegmentationOutput, ...]:
        """As `label`, but always with running statistics and without noise: for evaluation and for p⁰."""
        networks = self.teachers if labeller == "teachers" else self.students
        networks.eval()
        images = _channels_last(images)
        with self.autocast():
            return tuple(network(images) for network in networks)

    @torch.no_grad()
    def predict_one(self, labeller: Labeller, number: int, images: Tensor) -> SegmentationOutput:
        """As `predict`, of one student or teacher by number, from 0."""
        network = self.student(number) if labeller == "students" else self.teacher(number)
        network.eval()
        with self.autocast():
            return cast(SegmentationOutput, network(_channels_last(images)))

    def after_step(self) -> None:
        """Bring the workers' BatchNorm statistics together, then move the mean teachers."""
        average_buffers(self.students)
        self._update_teachers()

    def restart_students(self) -> None:
        """Give the students their initial weights back; the teachers go on from where they are."""
        for student, initial in zip(self.students, self._initial_students(), strict=True):
            student.load_state_dict(initial.state_dict())


def _channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)


def to_unit_range(images: Tensor) -> Tensor:
    """uint8 [B, 3, H, W] to float32 in [0, 1]."""
    return images.float().div_(255)
