"""A trainer that only keeps time: one report, one score and one checkpoint per step, and faults on
demand.

What goes wrong is chosen by the run's seed, because a configuration is all that reaches a worker
process.
"""

import os
import signal
import time
from pathlib import Path

import numpy as np
import torch

from rml_trainers.checkpoint.folder import (
    Checkpoint,
    CheckpointHeader,
    save_checkpoint,
    verify_checkpoint,
)
from rml_trainers.config import RunConfig
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.data.splitting.splits import Split
from rml_trainers.errors import NonFiniteLossError
from rml_trainers.runtime.distributed import rank
from rml_trainers.scoring.score import Evaluation
from rml_trainers.training.reporting import Progress, Reporter

GOOD, NON_FINITE, KILLED_ONCE, KILLED_ALWAYS, SLOW, RANK_1_FAILS, HANGS_ONCE = range(7)
FAULT_STEP = 3


def evaluation(miou: float) -> Evaluation:
    return Evaluation(
        protocol="scenes-32x48/teacher_1/last",
        network="teacher_1",
        scores={"miou": miou, "accuracy": 0.75, "iou/sky": miou, "iou/pole": float("nan")},
        confusion=np.array([[3, 1], [0, 4]]),
    )


class FakeTrainer:
    """Stands in for `rml_trainers.training.trainer.Trainer`."""

    rank = staticmethod(rank)

    def __init__(
        self,
        config: RunConfig,
        data: PreparedData,
        split: Split,
        *,
        device: torch.device,
        reporter: Reporter,
        work_dir: Path,
        resume_from: Path | None = None,
        begin_from: Path | None = None,
    ) -> None:
        assert split.labelled
        assert data.names("val")
        assert device.type == "cpu"
        self.fault = config.seed
        self.num_steps = config.schedule.total_steps
        self.reporter = reporter
        self.work_dir = work_dir
        self.step = verify_checkpoint(resume_from).step if resume_from else 0
        self.is_first_attempt = resume_from is None

    def fit(self) -> tuple[Evaluation, ...]:
        while self.step < self.num_steps:
            self.step += 1
            self._fail()
            progress = Progress(
                stage=0,
                num_stages=1,
                step=self.step,
                num_steps=self.num_steps,
                seconds_per_step=0.01,
            )
            if self.rank() == 0:
                self.reporter.on_step(progress, {"loss": 1 / self.step})
                self.reporter.on_evaluation(progress, (evaluation(self.step / 100),))
            self.reporter.on_checkpoint(progress, self._checkpoint() if self.rank() == 0 else None)
        return (evaluation(self.num_steps / 100),)

    def _fail(self) -> None:
        if self.fault == SLOW:
            time.sleep(0.3)
        if self.step != FAULT_STEP:
            return
        if self.fault == NON_FINITE:
            raise NonFiniteLossError("loss is nan at step 3")
        if self.fault == HANGS_ONCE and self.is_first_attempt:
            time.sleep(3600)
        if self.fault == RANK_1_FAILS and self.rank() == 1:
            raise ValueError("rank 1 cannot")
        if self.fault == KILLED_ALWAYS or (self.fault == KILLED_ONCE and self.is_first_attempt):
            os.kill(os.getpid(), signal.SIGKILL)

    def _checkpoint(self) -> Path:
        folder = self.work_dir / f"checkpoint-{self.step}"
        header = CheckpointHeader(
            step=self.step, finished=self.step == self.num_steps, identity="fake"
        )
        nothing: dict[str, torch.Tensor] = {}
        save_checkpoint(
            folder,
            Checkpoint(
                header=header,
                students=nothing,
                teachers=nothing,
                optimiser=nothing,
                extras=nothing,
                evaluations=(),
            ),
        )
        return folder
