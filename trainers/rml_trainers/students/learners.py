"""The networks of a run: students, their mean teachers, and the only ways to call them."""

import contextlib
import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn

from rml_trainers.networks import build_network
from rml_trainers.networks.accelerate import accelerate, what_is_accelerated
from rml_trainers.networks.network import SegmentationNetwork, SegmentationOutput
from rml_trainers.noise.config import NoiseConfig
from rml_trainers.runtime.device import autocast, compute_dtype, prepare_device, searching_kernels
from rml_trainers.runtime.distributed import average_buffers, world_size
from rml_trainers.runtime.options import RuntimeConfig
from rml_trainers.runtime.randomness import seed_model_noise
from rml_trainers.settings.contract import Labeller, NetworkConfig
from rml_trainers.settings.optimisation import TeacherConfig
from rml_trainers.students.device_defaults import loss_chunk_mib, what_is_recomputed
from rml_trainers.students.ema import MeanTeacherUpdate
from rml_trainers.students.forwards import (
    Forward,
    forwards_of,
    one_by_one,
    require_compiler,
    side_by_side,
)
from rml_trainers.students.micro_batches import Learnt, LossOf, MicroBatch, learn_micro_batches
from rml_trainers.students.student_group import RunAll, StudentGroup


@dataclass(frozen=True, kw_only=True)
class LearnerSettings:
    """What decides the networks of a run, and how a step runs them."""

    networks: tuple[NetworkConfig, ...]
    """One per student."""
    noise: NoiseConfig
    teacher: TeacherConfig
    runtime: RuntimeConfig
    num_micro_batches: int
    """Pieces that a step's images are cut into, see `BatchConfig.accumulate`."""
    precision: Literal["auto", "float32", "bfloat16"]
    sync_batchnorm: bool
    apart: bool
    """Whether each student learns by itself, see `MethodConfig.students_apart`."""
    one_size: bool
    """Whether all whole images have one size, so that searching for the fastest kernels pays."""
    seed: int


class Learners:
    """Students θ_i and mean teachers θ̃_i of one run on one device.

    Students differ by the random initialisation of their heads (and of everything else without
    pretrained weights); each teacher begins as a copy of its student.
    """

    def __init__(self, settings: LearnerSettings, num_classes: int, device: torch.device) -> None:
        self._settings = settings
        self._num_classes = num_classes
        self.device = device
        self._dtype = compute_dtype(settings.precision, device)
        students = self._initial_students()
        if settings.sync_batchnorm:
            from timm.layers import convert_sync_batchnorm  # takes seconds to load

            # timm's own conversion: torch's drops the activation inside the BatchNorm layers of
            # EfficientNets.
            students = [cast(SegmentationNetwork, convert_sync_batchnorm(s)) for s in students]
        self.students = nn.ModuleList(students).to(device).to(memory_format=torch.channels_last)
        self.teachers = copy.deepcopy(self.students).requires_grad_(False)
        self.teachers.train(settings.teacher.mode == "train")
        self._accelerate()
        self._prepare_calls()
        self._update_teachers = MeanTeacherUpdate(
            self.students,
            self.teachers,
            settings.teacher.ema_decay,
            warm_up=settings.teacher.ema_warm_up,
        )

    def _accelerate(self) -> None:
        recompute = what_is_recomputed(self._settings.runtime, self.device, self._dtype)
        for number in range(self.num_students):
            accelerate(self.student(number), self.device, recompute=recompute)
            accelerate(self.teacher(number), self.device)
        self.acceleration = what_is_accelerated(self.device, recompute=recompute)

    def _prepare_calls(self) -> None:
        """How a step runs the networks; see `RuntimeConfig`."""
        runtime = self._settings.runtime
        prepare_device(self.device, tf32=runtime.tf32, keep_memory=runtime.keep_freed_memory)
        if runtime.compile:
            require_compiler(self.device)
        self._forwards: dict[Labeller, list[Forward]] = {
            "students": forwards_of(self.students, compiled=runtime.compile),
            "teachers": forwards_of(self.teachers, compiled=runtime.compile),
        }
        with_streams = (
            runtime.students == "streams" and self.device.type == "cuda" and world_size() == 1
        )
        self._run_all: RunAll = side_by_side if with_streams else one_by_one
        numbers = tuple(range(self.num_students))
        alone = runtime.students == "in_turn" or self._settings.apart
        groups = [(i,) for i in numbers] if alone else [numbers]
        self._groups = [
            StudentGroup(self.students, group, self._forwards["students"], self._run_all)
            for group in groups
        ]

    def _initial_students(self) -> list[SegmentationNetwork]:
        students = []
        for number, network in enumerate(self._settings.networks):
            seed_model_noise(self._settings.seed, "initialise", number)
            students.append(build_network(network, self._num_classes, self._settings.noise))
        return students

    @property
    def num_students(self) -> int:
        return len(self.students)

    @property
    def loss_chunk_mib(self) -> int:
        """Size of what a loss upsamples at once, see `pixel_losses`."""
        return loss_chunk_mib(self._settings.runtime, self.device)

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

    def forward_students(
        self, images: Sequence[Tensor], students: Sequence[int] | None = None
    ) -> tuple[SegmentationOutput, ...]:
        """One forward per student, with gradient.

        Args:
            images: [B, 3, H, W] in [0, 1] for each of the students.
            students: numbers of whole groups, such as those of a micro-batch; default: all.
        """
        assert students is not None or self._settings.num_micro_batches == 1, (
            "micro-batches come through `learn`"
        )
        numbers = tuple(range(self.num_students)) if students is None else tuple(students)
        inputs = dict(zip(numbers, map(_channels_last, images), strict=True))
        outputs: dict[int, SegmentationOutput] = {}
        with self.autocast():
            for group in self._groups:
                if group.numbers[0] in inputs:
                    outputs |= group.forward({i: inputs[i] for i in group.numbers})
        return tuple(outputs[i] for i in numbers)

    def learn(
        self,
        loss_of: LossOf,
        *,
        together: bool = False,
        students: tuple[int, ...] | None = None,
    ) -> Learnt:
        """Losses of a step, micro-batch by micro-batch (see `learn_micro_batches`).

        Args:
            loss_of: loss of one micro-batch, from `forward_students(…, micro_batch.students)`.
            together: the loss of a student needs the other's output.
            students: numbers of those that learn, whole groups; default: all.
        """
        num_pieces = self._settings.num_micro_batches
        everyone = tuple(range(self.num_students))
        groups = [everyone] if together else [group.numbers for group in self._groups]
        if students is not None:
            groups = [numbers for numbers in groups if set(numbers) <= set(students)]
        micro_batches = [
            MicroBatch(numbers, index, num_pieces)
            for index in range(num_pieces)
            for numbers in groups
        ]
        return learn_micro_batches(micro_batches, loss_of, self._without_exchange)

    @contextlib.contextmanager
    def _without_exchange(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for group in self._groups:
                stack.enter_context(group.without_exchange())
            yield

    def decode(
        self, student: int, maps: Sequence[Tensor], image_px: tuple[int, int]
    ) -> SegmentationOutput:
        """Head of one student, with gradient, on maps such as `SegmentationOutput.head_input` that
        come from `forward_students`.

        Between workers nothing more is needed: a parameter exchanges its gradient once all its uses
        have given theirs.
        """
        with self.autocast():
            return self.student(student).decode(maps, image_px)

    @torch.no_grad()
    def label(self, labeller: Labeller, images: Tensor) -> tuple[SegmentationOutput, ...]:
        """Outputs of every student or every teacher on the same images, without gradient.

        Teachers run as `teacher.mode` says; a student that labels runs in the same mode and learns
        nothing from it.
        """
        networks = self.teachers if labeller == "teachers" else self.students
        networks.train(self._settings.teacher.mode == "train")
        with self.autocast():
            return self._run_all(self._forwards[labeller], [_channels_last(images)] * len(networks))

    @torch.no_grad()
    def label_one(self, labeller: Labeller, number: int, images: Tensor) -> SegmentationOutput:
        """As `label`, of one student or teacher by number, from 0."""
        network = self.student(number) if labeller == "students" else self.teacher(number)
        network.train(self._settings.teacher.mode == "train")
        with self.autocast():
            return self._forwards[labeller][number](_channels_last(images))

    @torch.no_grad()
    def replay(
        self, number: int, images: Tensor, labeller: Labeller = "students"
    ) -> SegmentationOutput:
        """Output of a student, or of its mean teacher, as a student is when it learns (dropout,
        batch statistics), without gradient."""
        network = self.student(number) if labeller == "students" else self.teacher(number)
        network.train()
        with self.autocast():
            return self._forwards[labeller][number](_channels_last(images))

    @torch.no_grad()
    def predict(self, labeller: Labeller, images: Tensor) -> tuple[SegmentationOutput, ...]:
        """As `label`, but always with running statistics and without noise: for evaluation and for
        p⁰."""
        return tuple(
            self.predict_one(labeller, number, images) for number in range(self.num_students)
        )

    @torch.no_grad()
    def predict_one(self, labeller: Labeller, number: int, images: Tensor) -> SegmentationOutput:
        """As `predict`, of one student or teacher by number, from 0."""
        network = self.student(number) if labeller == "students" else self.teacher(number)
        network.eval()
        with self.autocast(), searching_kernels(self._settings.one_size):
            return cast(SegmentationOutput, network(_channels_last(images)))

    def after_step(self, step: int) -> None:
        """Bring the workers' BatchNorm statistics together, then move the mean teachers.

        Args:
            step: of the run, from 0.
        """
        average_buffers(self.students)
        self._update_teachers(step)

    def restart_students(self) -> None:
        """Give the students their initial weights back; the teachers go on from where they are."""
        for student, initial in zip(self.students, self._initial_students(), strict=True):
            student.load_state_dict(initial.state_dict())


def _channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)


def to_unit_range(images: Tensor) -> Tensor:
    """uint8 [B, 3, H, W] to float32 in [0, 1]."""
    return images.float().div_(255)
