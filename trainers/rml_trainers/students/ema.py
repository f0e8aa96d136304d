"""Mean teachers: exponential moving average of a student's parameters, buffers copied."""

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from rml_trainers.networks.accelerate.private_names import copy_all


class MeanTeacherUpdate:
    """θ̃ ← a θ̃ + (1 − a) θ over all students at once; buffers (BatchNorm statistics) are copied.

    One multi-tensor kernel for all parameters instead of a Python loop; the tensor lists are
    collected once.
    """

    def __init__(self, students: nn.Module, teachers: nn.Module, decay: float) -> None:
        self._student_params: list[Tensor] = [p.detach() for p in students.parameters()]
        self._teacher_params: list[Tensor] = [p.detach() for p in teachers.parameters()]
        self._student_buffers = list(students.buffers())
        self._teacher_buffers = list(teachers.buffers())
        self._average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def __call__(self) -> None:
        self._average(self._teacher_params, self._student_params, None)
        copy_all(self._teacher_buffers, self._student_buffers)
