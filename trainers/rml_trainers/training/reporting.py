"""Who is told what during training. The trainer knows this protocol only; the platform brings Ray
and MLflow."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rml_trainers.scoring.score import Evaluation


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run stands. Steps count optimiser steps over all stages."""

    stage: int
    num_stages: int
    step: int
    num_steps: int
    seconds_per_step: float
    """Mean wall time of the steps since the previous report (0 when none was made)."""


class Reporter(Protocol):
    """Receives what happens in a run. Called on rank 0 only, except `on_checkpoint`, which every
    rank calls."""

    def on_step(self, progress: Progress, scalars: dict[str, float]) -> None:
        """Means of the scalars since the last call; comes every `runtime.log_every_steps`."""

    def on_evaluation(self, progress: Progress, evaluations: tuple[Evaluation, ...]) -> None:
        """One entry per scored network as it is now, the first is the one that tables read;
        hold-out scores last."""

    def on_checkpoint(self, progress: Progress, folder: Path | None) -> None:
        """A complete checkpoint folder (None on ranks other than 0). The folder is deleted after
        the call: copy it.

        Everything reported before this call is now safe to publish; what was reported since the
        previous checkpoint would be reported again, with equal values, should the process die
        before this call returns.
        """

    def on_note(self, kind: str, text: str) -> None:
        """Something a person should read, such as a class absent from every labelled image (`kind`:
        warning, info)."""


class MemoryReporter:
    """Keeps everything in lists: for tests, notebooks and as the base of richer reporters."""

    def __init__(self) -> None:
        self.steps: list[tuple[Progress, dict[str, float]]] = []
        self.evaluations: list[tuple[Progress, tuple[Evaluation, ...]]] = []
        self.checkpoints: list[Progress] = []
        self.notes: list[tuple[str, str]] = []

    def on_step(self, progress: Progress, scalars: dict[str, float]) -> None:
        self.steps.append((progress, scalars))

    def on_evaluation(self, progress: Progress, evaluations: tuple[Evaluation, ...]) -> None:
        self.evaluations.append((progress, evaluations))

    def on_checkpoint(self, progress: Progress, folder: Path | None) -> None:
        self.checkpoints.append(progress)

    def on_note(self, kind: str, text: str) -> None:
        self.notes.append((kind, text))
