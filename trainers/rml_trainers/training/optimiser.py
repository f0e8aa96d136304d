"""SGD or AdamW with polynomial decay; the head learns faster than the backbone."""

from typing import cast

import torch
from torch import nn

from rml_trainers.settings.optimisation import OptimiserConfig
from rml_trainers.students.fused_optimiser import fused_optimiser
from rml_trainers.students.learners import Learners


class Optimiser:
    """One optimiser over all students that reads and writes each parameter once; rates are set per
    step from the schedule."""

    def __init__(self, learners: Learners, config: OptimiserConfig) -> None:
        students = [learners.student(i) for i in range(learners.num_students)]
        self._config = config
        self._students = [
            list(s.backbone_parameters()) + list(s.head_parameters()) for s in students
        ]
        backbone = [p for s in students for p in s.backbone_parameters()]
        head = [p for s in students for p in s.head_parameters()]
        groups = [
            {"params": backbone, "factor": 1.0},
            {"params": head, "factor": config.head_lr_factor},
        ]
        self.inner = fused_optimiser([group for group in groups if group["params"]], config)

    def clear(self) -> None:
        """Forget the gradients, before a step's first backward pass."""
        self.inner.zero_grad(set_to_none=True)

    def step(self, loss: torch.Tensor, progress: float) -> None:
        """Backward, clip, update. `progress` is the fraction of the stage done, in [0, 1)."""
        lr = self._config.lr * (1 - progress) ** self._config.poly_power
        for group in self.inner.param_groups:
            group["lr"] = lr * group["factor"]
        loss.backward()  # type: ignore[no-untyped-call]
        if self._config.gradient_clip is not None:
            for parameters in self._students:
                nn.utils.clip_grad_norm_(parameters, self._config.gradient_clip, foreach=True)
        self.inner.step()

    def tensors(self) -> dict[str, torch.Tensor]:
        """State by position and, where there is more than momentum, name; empty before the first
        step."""
        state = self.inner.state_dict()["state"]
        if self._config.kind == "sgd":
            return {
                str(i): cast(torch.Tensor, slot["momentum_buffer"])
                for i, slot in state.items()
                if slot.get("momentum_buffer") is not None
            }
        return {f"{i}/{name}": value for i, slot in state.items() for name, value in slot.items()}

    def load_tensors(self, tensors: dict[str, torch.Tensor]) -> None:
        """Take back what `tensors` gave."""
        parameters = [
            parameter for group in self.inner.param_groups for parameter in group["params"]
        ]
        slots: dict[int, dict[str, torch.Tensor]] = {}
        for key, tensor in tensors.items():
            (number, _, name) = key.partition("/")
            like = parameters[int(number)]
            # Laid out in memory as its parameter is: the fused update walks through both side by
            # side. A count of steps is a single number.
            kept = torch.empty_like(like) if tensor.shape == like.shape else like.new_empty(())
            slots.setdefault(int(number), {})[name or "momentum_buffer"] = kept.copy_(tensor)
        self.inner.load_state_dict({**self.inner.state_dict(), "state": slots})
