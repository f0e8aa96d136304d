"""Program for the resume tests: trains the tiny `rml` run, keeps its checkpoints, and kills itself
when told to.

python resumable_run.py FOLDER never | STEP | checkpoint:STEP
"""

import json
import os
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import distributed as dist

sys.path.insert(0, str(Path(__file__).parents[3]))

from rml_trainers.config import BatchConfig, EvaluationConfig
from rml_trainers.data.prepared.prepare import ensure_prepared
from rml_trainers.data.splitting.splits import make_split
from rml_trainers.runtime.distributed import leave_group
from rml_trainers.scoring.score import Evaluation
from rml_trainers.training.reporting import Progress
from rml_trainers.training.trainer import Trainer
from tests.support.tiny import tiny_config


class KeepOnDisk:
    """Publishes what was reported when a checkpoint makes it safe, as the platform's reporters
    do."""

    def __init__(self, folder: Path, kill_at: str) -> None:
        self.folder = folder
        self.kill_at = kill_at
        self.log_file = folder / "log.json"
        self.log: dict[str, object] = (
            json.loads(self.log_file.read_text()) if self.log_file.exists() else {}
        )

    def on_step(self, progress: Progress, scalars: dict[str, float]) -> None:
        self.log[f"step {progress.step}"] = scalars

    def on_evaluation(self, progress: Progress, evaluations: tuple[Evaluation, ...]) -> None:
        self.log[f"evaluation {progress.step}"] = [
            [e.protocol, e.miou, e.accuracy, e.confusion.tolist()] for e in evaluations
        ]

    def on_checkpoint(self, progress: Progress, folder: Path | None) -> None:
        if folder is None:
            return
        if self.kill_at == f"checkpoint:{progress.step}":
            os.kill(os.getpid(), signal.SIGKILL)
        name = "final" if progress.step == progress.num_steps else f"step-{progress.step:04d}"
        shutil.copytree(folder, self.folder / "copying", dirs_exist_ok=True)
        self.log_file.write_text(json.dumps(self.log))
        (self.folder / "copying").rename(self.folder / name)

    def on_note(self, kind: str, text: str) -> None:
        self.log[kind] = text


class DiesAtStep(Trainer):
    """Kills its own process after a given step, without any chance to clean up."""

    kill_at = "never"

    def _after_step(self, stage: object) -> None:
        if str(self.step) == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        super()._after_step(stage)  # type: ignore[arg-type]


def main(folder: Path, kill_at: str) -> None:
    torch.set_num_threads(1)
    config = tiny_config("rml")
    if "WORLD_SIZE" in os.environ:
        dist.init_process_group("gloo")
        choosing = EvaluationConfig(batch=3, every_steps=2, moment="best_holdout", num_holdout=2)
        # CutMix pairs images: a worker's share must be even.
        config = replace(config, batch=BatchConfig(labelled=2, unlabelled=4), evaluation=choosing)
    worker = int(os.environ.get("RANK", "0"))
    data = ensure_prepared(config.data, None, folder / "cache")
    checkpoints = sorted(folder.glob("step-*"))
    (folder / f"work-{worker}").mkdir(parents=True, exist_ok=True)
    trainer = DiesAtStep(
        config,
        data,
        make_split(data.names("train"), config.split),
        device=torch.device("cpu"),
        reporter=KeepOnDisk(folder, kill_at),
        work_dir=folder / f"work-{worker}",
        resume_from=checkpoints[-1] if checkpoints else None,
    )
    trainer.kill_at = kill_at
    trainer.fit()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
    leave_group()
