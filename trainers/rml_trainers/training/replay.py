"""The steps in which a run met a loss that is no number, made again one by one and looked into.

Every step is a function of the checkpoint before it, of (seed, stage, step), and of the images, so
that it can be made again; here each is looked at as often as it takes, which a real step never is.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rml_trainers.data.loading.loaders import Batch
from rml_trainers.methods.method import StepResult
from rml_trainers.runtime.distributed import rank
from rml_trainers.runtime.randomness import seed_model_noise
from rml_trainers.training.stages import Stage
from rml_trainers.training.trainer import Trainer


@dataclass(frozen=True, kw_only=True)
class ReplayedStep:
    """One step that was made again."""

    step: int
    """Its number, counted from 1 over all stages."""
    stage: int
    loss: float
    scalars: Mapping[str, float]
    """What the step reports beside its loss."""
    gradient_norms: Mapping[str, float]
    """By student, as the update used them: clipped where the run clips."""
    images: Mapping[str, tuple[str, ...]]
    """Names of the images of its batch, by what they are used for."""
    first_non_finite: str | None
    """What became NaN or infinite first; None where nothing did."""


class Replay(Trainer):
    """A trainer that reports nothing, scores nothing and saves nothing, and looks into each of its
    steps."""

    def steps_until(self, last_step: int, on_step: Callable[[ReplayedStep], None]) -> bool:
        """Make steps until something is not finite, or `last_step` is done; whether something was.

        Args:
            on_step: is told of each.
        """
        self._last_step = min(last_step, self.num_steps)
        self._on_step = on_step
        self._found: str | None = None
        self._watch = _FirstNonFinite()
        self._look_at_state("before the first of these steps")
        try:
            if self.step < self._last_step:
                self.fit()
        except _Enough:
            pass
        return self._found is not None

    def _train_step(self, stage: Stage, step: int, batch: Batch) -> None:
        seed_model_noise(self.config.seed, "model_noise", stage.index, step, rank())
        batch = batch.to(self.device, non_blocking=True)
        if batch.unlabelled is not None:
            for number, initial in enumerate(batch.unlabelled.initial, start=1):
                self._watch.see(f"the stored label p0 of network {number}", initial)
        progress = step / stage.num_steps
        with self._watched():
            result = self.train_on(batch, warm_up=stage.warm_up, progress=progress)
        self.step += 1
        self._look_at_result(result)
        self._look_at_state("after the step")
        self._found = self._watch.first
        with_unlabelled = batch.unlabelled is not None
        names = self.batches.names(stage.index, step, with_unlabelled=with_unlabelled)
        self._on_step(self._replayed(stage, result, names))
        if self._found is not None or self.step >= self._last_step:
            raise _Enough

    def _after_step(self, stage: Stage) -> None:
        """Nothing is reported, scored or saved."""

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """What the networks give is looked at, layer by layer in the order of the calls."""
        with ExitStack() as stack:
            for name, network in self._networks():
                for path, module in network.named_modules():
                    if not any(True for _ in module.children()):
                        hook = self._watch.hook(f"the output of {name}.{path}")
                        stack.callback(module.register_forward_hook(hook).remove)
            yield

    def _networks(self) -> Iterator[tuple[str, nn.Module]]:
        for number, student in enumerate(self.learners.students, start=1):
            yield f"student_{number}", student
        for number, teacher in enumerate(self.learners.teachers, start=1):
            yield f"teacher_{number}", teacher

    def _look_at_result(self, result: StepResult) -> None:
        for name, value in sorted(result.scalars.items()):
            if name != "loss":
                self._watch.see(f"the scalar {name}", value)
        self._watch.see("the loss", result.loss)
        for name, network in self._networks():
            for path, parameter in network.named_parameters():
                if parameter.grad is not None:
                    self._watch.see(f"the gradient of {name}.{path}", parameter.grad)

    def _look_at_state(self, when: str) -> None:
        for name, network in self._networks():
            for path, tensor in network.state_dict().items():
                self._watch.see(f"{name}.{path} {when}", tensor)

    def _replayed(
        self, stage: Stage, result: StepResult, images: Mapping[str, tuple[str, ...]]
    ) -> ReplayedStep:
        norms = {
            f"student_{number}": _norm([p.grad for p in student.parameters() if p.grad is not None])
            for number, student in enumerate(self.learners.students, start=1)
        }
        return ReplayedStep(
            step=self.step,
            stage=stage.index,
            loss=float(result.loss.detach()),
            scalars={k: float(v) for k, v in sorted(result.scalars.items()) if k != "loss"},
            gradient_norms=norms,
            images=images,
            first_non_finite=self._watch.first,
        )


class _Enough(Exception):
    """The last step to be made is made."""


class _FirstNonFinite:
    """Remembers the first tensor that is not finite."""

    def __init__(self) -> None:
        self.first: str | None = None

    def see(self, name: str, tensor: Tensor) -> None:
        if self.first is not None or not tensor.is_floating_point():
            return
        values = tensor.detach()
        bad = int((~torch.isfinite(values)).sum())
        if bad:
            kind = "NaN" if bool(values.isnan().any()) else "infinite"
            self.first = f"{name} ({bad} of {values.numel()} values, {kind})"

    def hook(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def look(module: nn.Module, given: Any, output: Any) -> None:
            for tensor in output if isinstance(output, tuple | list) else (output,):
                if isinstance(tensor, Tensor):
                    self.see(name, tensor)

        return look


def _norm(gradients: list[Tensor]) -> float:
    """Euclidean norm over all of them; NaN or infinite as they are."""
    if not gradients:
        return 0.0
    norms = torch.stack([gradient.detach().double().norm() for gradient in gradients])
    return math.sqrt(float((norms**2).sum()))
