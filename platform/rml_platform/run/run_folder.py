"""The folder of one run, `<storage>/runs/<run_id>/`: the truth about it, on any pyarrow filesystem.

    task.json          what was asked for (RunTask)           config.yaml   the resolved
    configuration, for a person heartbeat.json     where the run stands                   log.txt
    notes and warnings, one a line metrics/*.json     everything measured, in pieces, each written
    just before the checkpoint that covers it checkpoints/<writer>/checkpoint_<step>_<n>/
    predictions/*.png result.json        final evaluations: the run is done     failure.json  why
    the last attempt failed published.json     what the tracker has of it             cancel
    marker: stop at the next log moment

`rml status`, `rml plan`, the live view and "launching twice does nothing" read these files only.
"""

import dataclasses
import math
import time
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import yaml

from rml_platform.run.retry_policy import STALE_AFTER_S
from rml_platform.run.storage import Folder
from rml_platform.run.task import Process, RunTask
from rml_trainers.training.reporting import Evaluation

RunState = Literal["new", "running", "cut_off", "failed", "cancelled", "done"]


@dataclass(frozen=True, kw_only=True)
class Heartbeat:
    """Where a run stands; written by rank 0."""

    launch_id: str
    launcher: Process
    worker: Process
    device: str
    attempt: int
    """Starts of this run so far, this one included, over all launches."""
    launch_attempt: int
    """Starts within this launch."""
    state: Literal["running", "stopped"] = "running"
    stage: int = 0
    num_stages: int = 0
    step: int = 0
    num_steps: int = 0
    seconds_per_step: float = 0.0
    loss: float | None = None
    miou: float | None = None
    checkpoint_step: int = -1
    """Step of the newest checkpoint that is safely stored (-1: none)."""
    seconds: float = 0.0
    """Wall time spent on the run so far, over all attempts."""
    time: float = 0.0
    """Unix time of writing."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why an attempt failed."""

    kind: str
    """Class name of the exception."""
    message: str
    traceback: str
    attempt: int
    launch_id: str
    time: float


@dataclass(frozen=True, kw_only=True)
class Result:
    """Outcome of a finished run."""

    evaluations: tuple[Evaluation, ...]
    steps: int
    seconds: float
    device: str
    host: str
    num_workers: int
    attempt: int
    code_version: str
    dirty: bool
    time: float


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """State of a run and what it rests on."""

    state: RunState
    heartbeat: Heartbeat | None = None
    failure: Failure | None = None
    result: Result | None = None


class RunFolder:
    """Reads and writes the files of one run."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder

    @classmethod
    def of(cls, storage: str, run_id: str) -> "RunFolder":
        return cls(Folder.open(storage).child("runs", run_id))

    @property
    def run_id(self) -> str:
        return self.folder.name

    def begin(self, task: RunTask) -> None:
        """Write what is asked for and forget an earlier failure."""
        self.folder.write_json("task.json", task.to_json())
        text = yaml.safe_dump(dataclasses.asdict(task.config), sort_keys=False, allow_unicode=True)
        self.folder.write("config.yaml", text.encode())
        self.folder.delete("failure.json")

    def task(self) -> RunTask | None:
        value = self.folder.read_json("task.json")
        return None if value is None else RunTask.from_json(value)

    def write_heartbeat(self, heartbeat: Heartbeat) -> None:
        self.folder.write_json(
            "heartbeat.json", dataclasses.asdict(dataclasses.replace(heartbeat, time=time.time()))
        )

    def heartbeat(self) -> Heartbeat | None:
        value = self.folder.read_json("heartbeat.json")
        if value is None:
            return None
        processes = {"launcher": Process(**value["launcher"]), "worker": Process(**value["worker"])}
        return Heartbeat(**{**value, **processes})

    def write_failure(self, failure: Failure) -> None:
        self.folder.write_json("failure.json", dataclasses.asdict(failure))

    def failure(self) -> Failure | None:
        value = self.folder.read_json("failure.json")
        return None if value is None else Failure(**value)

    def write_result(self, result: Result) -> None:
        value = {
            **vars(result),
            "evaluations": [_evaluation_to_json(e) for e in result.evaluations],
        }
        self.folder.write_json("result.json", value)
        self.folder.delete("failure.json")

    def result(self) -> Result | None:
        value = self.folder.read_json("result.json")
        if value is None:
            return None
        return Result(
            **{
                **value,
                "evaluations": tuple(_evaluation_from_json(e) for e in value["evaluations"]),
            }
        )

    def record(self, now: float | None = None) -> RunRecord:
        """State of the run; `now` is the Unix time to judge the heartbeat by."""
        if (result := self.result()) is not None:
            return RunRecord(state="done", result=result, heartbeat=self.heartbeat())
        heartbeat = self.heartbeat()
        failure = self.failure()
        state: RunState = "new"
        if failure is not None:
            state = "cancelled" if failure.kind == "Cancelled" else "failed"
        elif heartbeat is not None:
            state = (
                "running" if is_alive(heartbeat, time.time() if now is None else now) else "cut_off"
            )
        return RunRecord(state=state, heartbeat=heartbeat, failure=failure)

    def request_cancel(self) -> None:
        """Ask a running attempt to stop at its next log moment."""
        self.folder.write("cancel", b"")

    def cancel_requested(self) -> bool:
        return self.folder.read("cancel") is not None


def is_alive(heartbeat: Heartbeat, now: float) -> bool:
    """Whether a process is still at it: the heartbeat is fresh and, on this machine, its processes
    exist."""
    if heartbeat.state == "stopped" or heartbeat.launcher.is_gone() or heartbeat.worker.is_gone():
        return False
    return now - heartbeat.time < STALE_AFTER_S


def _evaluation_to_json(evaluation: Evaluation) -> dict[str, Any]:
    scores = {
        name: None if math.isnan(iou) else iou for name, iou in evaluation.iou_by_class.items()
    }
    return {**vars(evaluation), "iou_by_class": scores, "confusion": evaluation.confusion.tolist()}


def _evaluation_from_json(value: dict[str, Any]) -> Evaluation:
    scores = {
        name: math.nan if iou is None else float(iou) for name, iou in value["iou_by_class"].items()
    }
    return Evaluation(
        **{
            **value,
            "iou_by_class": scores,
            "confusion": np.array(value["confusion"], dtype=np.int64),
        }
    )
