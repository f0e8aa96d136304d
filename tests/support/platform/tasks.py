"""Tasks for the tests of running, resuming and tracking."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from rml_platform.run.run_folder import Heartbeat
from rml_platform.run.task import Process, RunTask, config_to_json
from rml_trainers.config import RunConfig, ScheduleConfig
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.data.splitting.splits import make_split
from tests.support.tiny import tiny_config

NUM_STEPS = 5


def fake_config(fault: int) -> RunConfig:
    """Configuration for FakeTrainer: the seed chooses the fault."""
    schedule = ScheduleConfig(warm_up_steps=NUM_STEPS, stage_steps=())
    return tiny_config("supervised", seed=fault, schedule=schedule)


def beat_of(process: Process | None = None, **changes: Any) -> Heartbeat:
    """Heartbeat of the first attempt at a run, launched and trained by one process: this one."""
    own = process or Process.current()
    beat = Heartbeat(
        launch_id="launch-1",
        launcher=own,
        worker=own,
        device="cpu",
        attempt=1,
        launch_attempt=1,
    )
    return replace(beat, **changes)


def task_for(
    config: RunConfig, data: PreparedData, out: Path, run_id: str, **changes: Any
) -> RunTask:
    """Task of a run that this process launches."""
    task = RunTask(
        run_id=run_id,
        config_json=config_to_json(config),
        storage=str(out),
        prepared_folder=str(data.folder),
        data_root=None,
        split_hash=make_split(data.names("train"), config.split).hash,
        data_hash=data.content_hash,
        study="study",
        launch_id="launch-1",
        launcher=Process.current(),
        code_version="abc1234",
        dirty=False,
        execution="direct",
    )
    return replace(task, **changes)


def dead_process() -> Process:
    """A process of this machine that has come to its end."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        return Process.of(process.pid)
