"""Mean teachers: exponential moving average of a student's parameters, buffers copied."""

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from rml_trainers.networks.accelerate.private_names import copy_all


class MeanTeacherUpdate:
    """θ̃ ← a θ̃ + (1 − a) θ over all students at once; buffers (BatchNorm statistics) are copied.

    One multi-tensor kernel for all parameters instead of a Python loop; the tensor lists are
    collected once.

    Args:
        decay: a.
        warm_up: take min(1 − 1/(t + 1), a) in step t instead, from 0: at first the teacher is the
            plain mean of its student's steps.
    """

    def __init__(
        self, students: nn.Module, teachers: nn.Module, decay: float, *, warm_up: bool = False
    ) -> None:
        self._decay = decay
        self._warm_up = warm_up
        self._student_params: list[Tensor] = [p.detach() for p in students.parameters()]
        self._teacher_params: list[Tensor] = [p.detach() for p in teachers.parameters()]
        self._student_buffers = list(students.buffers())
        self._teacher_buffers = list(teachers.buffers())
        self._average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def __call__(self, step: int) -> None:
        """After step t of the run, counted from 0."""
        average = self._average
        if self._warm_up and 1 - 1 / (step + 1) < self._decay:
            average = get_ema_multi_avg_fn(1 - 1 / (step + 1))  # type: ignore[no-untyped-call]
        average(self._teacher_params, self._student_params, None)
        copy_all(self._teacher_buffers, self._student_buffers)
