"""Losses of the students on their targets: one forward per student and micro-batch, losses of a few
images at a time.

A method says what the losses are (`Equations`). That their upsampled maps never exist for a whole
batch, and that a step can be cut into micro-batches, is settled here for all methods alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from rml_trainers.methods.student_targets import StudentTargets, View
from rml_trainers.students.learners import Learners
from rml_trainers.students.losses import log_softmax
from rml_trainers.students.micro_batches import MicroBatch
from rml_trainers.students.pixel_losses import pixel_losses


@dataclass(frozen=True)
class Loss:
    """One loss on some images; all of it are sums over these images (see `losses.valid_counts`)."""

    minimised: Tensor
    """Scalar with gradient: what it adds to the loss of the step."""
    reported: Tensor
    """Scalar: what it adds to the reported L_s or L_u, without the weights of the run."""
    scalars: Mapping[str, Tensor] = field(default_factory=dict)
    """More to report, by name; the number of the student is put behind."""


class Equations(Protocol):
    """The losses of a method. All maps are at the resolution of the labels."""

    def on_labelled(self, log_prob: Tensor, label: Tensor, targets: StudentTargets) -> Loss:
        """L_s of one student on some labelled images."""
        ...

    def labelled_consistency(
        self, log_prob: Sequence[Tensor], labels: Sequence[Tensor], counts: Sequence[Tensor]
    ) -> list[Tensor]:
        """What is added to the L_u of each student on some labelled images, or an empty list."""
        ...

    def on_view(self, log_prob: Tensor, view: View, targets: StudentTargets) -> Loss:
        """L_u of one student on some images of one view."""
        ...

    def scale(self) -> float | Tensor:
        """Weight of every L_u in the loss of the step."""
        ...


class StudentLosses:
    """The loss of a micro-batch, as `Learners.learn` wants it.

    Args:
        keep_logits: keep what the students see in their first view, for `first_logits`.
    """

    def __init__(
        self,
        equations: Equations,
        targets: Sequence[StudentTargets],
        learners: Learners,
        *,
        keep_logits: bool,
    ) -> None:
        self._equations = equations
        self._targets = targets
        self._learners = learners
        self._kept: list[list[Tensor]] | None = [[] for _ in targets] if keep_logits else None

    def first_logits(self) -> list[Tensor]:
        """Logits [B, K, h, w] of each student on its first view, without gradient, once all
        micro-batches are learnt."""
        assert self._kept is not None, "not asked for"
        return [torch.cat(pieces) for pieces in self._kept]

    def __call__(self, micro_batch: MicroBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss with gradient, and what to report of it."""
        students = micro_batch.students
        targets = [self._targets[i].of(micro_batch) for i in students]
        on_labelled, on_views = self._forward(targets, students)
        total, supervised, consistency = self._labelled(targets, on_labelled, students)
        told: dict[str, Tensor] = {}
        for n, i in enumerate(students):
            minimised, unsupervised, more = self._views(targets[n], on_views[n], i)
            total = total + minimised
            told |= more
            told[f"loss_supervised_{i + 1}"] = supervised[n]
            told[f"loss_unsupervised_{i + 1}"] = consistency[n] + unsupervised
        return total, told

    def _forward(
        self, targets: Sequence[StudentTargets], students: Sequence[int]
    ) -> tuple[list[Tensor], list[list[Tensor]]]:
        """Logits of each student on its labelled images, and on each of its views."""
        images = [_distinct([view.images for view in own.views]) for own in targets]
        outputs = self._learners.forward_students(
            [
                torch.cat([own.images, *of_views])
                for own, of_views in zip(targets, images, strict=True)
            ],
            students,
        )
        on_labelled = []
        on_views = []
        for i, own, of_views, output in zip(students, targets, images, outputs, strict=True):
            sizes = [len(own.images), *map(len, of_views)]
            labelled, *logits = self._cut(output.logits, sizes)
            heads = [torch.split(maps, sizes)[1:] for maps in output.head_input]
            on_labelled.append(labelled)
            on_view = []
            for view in own.views:
                place = _place(view.images, of_views)
                of_view = logits[place]
                if view.perturb is not None:
                    maps = [view.perturb(of_map[place], view.numbers) for of_map in heads]
                    of_view = self._learners.decode(i, maps, _size(view.images)).logits
                on_view.append(of_view)
            on_views.append(on_view)
            if self._kept is not None:
                self._kept[i].append(logits[0].detach())
        return on_labelled, on_views

    def _cut(self, logits: Tensor, sizes: Sequence[int]) -> Sequence[Tensor]:
        """The logits of each piece of a batch.

        How they are cut decides in which memory layout their gradients, put together again, reach
        the last convolution, and with it how that rounds. Both ways are kept, each where recorded
        runs have it; a rise of RESULT_VERSION should leave `torch.split` alone.
        """
        if len(sizes) == 2 and self._kept is None:
            return logits[: sizes[0]], logits[sizes[0] :]
        return torch.split(logits, list(sizes))

    def _labelled(
        self,
        targets: Sequence[StudentTargets],
        logits: Sequence[Tensor],
        students: Sequence[int],
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """To minimise, then L_s and what is added to the L_u of each student."""
        size = _size(targets[0].label)
        networks = [self._learners.student(i) for i in students]
        counts = [own.num_valid for own in targets]

        def losses(part: slice, some: Sequence[Tensor]) -> list[Tensor]:
            log_prob = [
                log_softmax(n.upsample(x, size)) for n, x in zip(networks, some, strict=True)
            ]
            labels = [own.label[part] for own in targets]
            found = [
                self._equations.on_labelled(*of_one)
                for of_one in zip(log_prob, labels, targets, strict=True)
            ]
            total = torch.stack([loss.minimised for loss in found]).sum()
            further = self._equations.labelled_consistency(log_prob, labels, counts)
            if further:
                total = total + self._equations.scale() * torch.stack(further).sum()
            further = further or [torch.zeros_like(loss.reported) for loss in found]
            return [total, *(loss.reported for loss in found), *further]

        total, *told = pixel_losses(losses, logits, size, self._learners.loss_chunk_mib)
        return total, told[: len(students)], told[len(students) :]

    def _views(
        self, targets: StudentTargets, logits: Sequence[Tensor], student: int
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """To minimise, L_u, and more to report, over all views of one student."""
        sums = []
        told: dict[str, Tensor] = {}
        for view, of_view in zip(targets.views, logits, strict=True):
            values, names = self._view(view, of_view, targets, student)
            sums.append(values[:2])
            told |= {f"{name}_{student + 1}": values[n] for n, name in enumerate(names, start=2)}
        minimised, unsupervised = sums[0] if len(sums) == 1 else torch.stack(sums).sum(dim=0)
        return minimised, unsupervised, told

    def _view(
        self, view: View, logits: Tensor, targets: StudentTargets, student: int
    ) -> tuple[Tensor, tuple[str, ...]]:
        """[2 + N]: to minimise, L_u, and what else is reported; the names of the latter."""
        network = self._learners.student(student)
        size = _size(view.images)
        names: tuple[str, ...] = ()

        def losses(part: slice, some: Sequence[Tensor]) -> list[Tensor]:
            nonlocal names
            log_prob = log_softmax(network.upsample(some[0], size))
            loss = self._equations.on_view(log_prob, view.of(part), targets)
            names = tuple(loss.scalars)
            return [loss.minimised, loss.reported, *loss.scalars.values()]

        return pixel_losses(losses, [logits], size, self._learners.loss_chunk_mib), names


def _size(maps: Tensor) -> tuple[int, int]:
    return (maps.shape[-2], maps.shape[-1])


def _distinct(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Each tensor once, in order."""
    return list({id(tensor): tensor for tensor in tensors}.values())


def _place(tensor: Tensor, among: Sequence[Tensor]) -> int:
    return next(n for n, other in enumerate(among) if other is tensor)
