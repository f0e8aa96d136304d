"""The folder of one run, `<storage>/runs/<run_id>/`: the truth about it, on any pyarrow filesystem.

    task.json        what was asked for (RunTask)
    config.yaml      the resolved configuration, for a person
    heartbeat.json   where the run stands
    log.txt          notes and warnings, one a line
    metrics/*.json   everything measured, in pieces, each written just before the checkpoint that
                     covers it
    checkpoints/<writer>/checkpoint_<step>_<n>/
    predictions/*.png
    result.json      final evaluations: the run is done
    failure.json     why the last attempt failed
    non_finite.json  where it met a loss that is no number (`faults/non_finite.py`)
    published.json   what the tracker has of it
    claims/*.json    who may write here; the newest counts
    studies/*        an empty file for every further study that has the run
    cancel           marker: stop at the next log moment, or after the next checkpoint

`rml status`, `rml plan`, the live view and "launching twice does nothing" read these files only.
"""

import dataclasses
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar

import pydantic
import yaml

from rml_dashboards.contract.names import RUN_ID
from rml_dashboards.contract.run_folder import (
    FAILURE_FILE,
    HEARTBEAT_FILE,
    PIECES,
    RESULT_FILE,
    RUNS,
    TASK_FILE,
)
from rml_dashboards.contract.states import (
    ALIVE,
    STALE_AFTER_S,
    HeartbeatState,
    RunState,
    run_state,
)
from rml_platform.run.codec import Codec, DamagedFileError
from rml_platform.run.storage import Folder
from rml_platform.run.task import RUN_TASK, Process, RunTask
from rml_trainers.errors import ConfigError
from rml_trainers.scoring.evaluation_json import evaluation_from_json, evaluation_to_json
from rml_trainers.scoring.score import Evaluation

T = TypeVar("T")
CANCEL_FILE = "cancel"
CLAIMS = "claims"
UNFINISHED_NS = 24 * 3600 * 10**9
"""Age of a temporary file from which on nobody is taken to be about to finish it."""
AT_CHECKPOINT = b"checkpoint "
StopWish = Literal["never", "report", "checkpoint"]
"""When somebody asks a run to stop."""
Score = Annotated[
    Evaluation,
    pydantic.PlainValidator(evaluation_from_json),
    pydantic.PlainSerializer(evaluation_to_json),
]
"""An evaluation as JSON knows it: its confusion matrix is an array, its NaN are null."""


@dataclass(frozen=True, kw_only=True)
class Heartbeat:
    """Where a run stands; written by rank 0."""

    launch_id: str
    launcher: Process
    worker: Process
    device: str
    num_workers: int | None = None
    """None where an earlier version wrote it."""
    attempt: int
    """Starts of this run so far, this one included, over all launches."""
    launch_attempt: int
    """Starts within this launch."""
    node: str = ""
    """Node of the cluster that it is on; empty without one."""
    micro_batches: int = 1
    """See `Result.micro_batches`."""
    state: HeartbeatState = ALIVE
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
    start_up_s: float = 0.0
    """Of it, what attempts took until their first report of steps: libraries, images,
    compilation."""
    start_up_steps: int = 0
    """Steps that were made in that time."""
    elsewhere_s: float = 0.0
    """Of it, what went by on other devices or with another number of workers: it tells nothing of
    the pace of this attempt."""
    elsewhere_steps: int = 0
    """Steps that were made in that time and that this attempt goes on from."""
    first_step: int = 0
    """Step that the run began at itself; what lies before it was taken over from another run."""
    gpu_percent: float | None = None
    """Of the last seconds, how many per cent the device was busy; None where nobody tells."""
    gpu_memory_bytes: int | None = None
    """What the process has reserved of its device's memory."""
    time: float = 0.0
    """Unix time of writing."""


def going_on(now: Heartbeat, earlier: Heartbeat) -> Heartbeat:
    """The first heartbeat of an attempt, with what an earlier one tells of the run's time."""
    now = dataclasses.replace(now, seconds=earlier.seconds)
    workers = earlier.num_workers or now.num_workers
    if (earlier.device, workers) != (now.device, now.num_workers):
        made = max(0, now.step - now.first_step)
        return dataclasses.replace(now, elsewhere_s=earlier.seconds, elsewhere_steps=made)
    return dataclasses.replace(
        now,
        start_up_s=earlier.start_up_s,
        start_up_steps=earlier.start_up_steps,
        elsewhere_s=earlier.elsewhere_s,
        elsewhere_steps=earlier.elsewhere_steps,
    )


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
    node: str = ""
    """Node of the cluster that it happened on, which a heartbeat may not have told; empty without
    one."""


@dataclass(frozen=True, kw_only=True)
class DeviceMemory:
    """What a run took of a GPU."""

    peak_bytes: int
    """The most that its first worker had reserved. In the first run of a process that counts what
    cuDNN tried its kernels with, which may be gigabytes and is not needed later."""
    device_bytes: int
    """What the GPU has in all."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """Outcome of a finished run."""

    evaluations: tuple[Score, ...]
    steps: int
    seconds: float
    device: str
    host: str
    num_workers: int
    attempt: int
    code_version: str
    dirty: bool
    time: float
    micro_batches: int = 1
    """How many times more micro-batches than asked for some of its steps were cut into, because the
    device ran out of memory; that changes the result a little."""
    memory: DeviceMemory | None = None
    """None on a CPU, and for a run that was not trained from its first step to its last in one
    attempt: the part that another attempt trained may have taken more."""


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """State of a run and what it rests on."""

    state: RunState
    heartbeat: Heartbeat | None = None
    failure: Failure | None = None
    result: Result | None = None
    damaged: tuple[str, ...] = ()
    """What is wrong with files that cannot be read and count as absent, one sentence each."""

    def failure_of(self, launch_id: str) -> Failure | None:
        """The failure, if an attempt of this launch wrote it down."""
        failure = self.failure
        return failure if failure is not None and failure.launch_id == launch_id else None


HEARTBEAT = Codec[Heartbeat](Heartbeat)
FAILURE = Codec[Failure](Failure)
RESULT = Codec[Result](Result)


NOBODY = Process(host="", pid=0, started="")


class RunFolder:
    """Reads and writes the files of one run."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder

    @classmethod
    def of(cls, storage: str, run_id: str) -> "RunFolder":
        """Folder of a run. Raises ConfigError for an id that would lead out of `runs/`."""
        if not RUN_ID.fullmatch(run_id):
            raise ConfigError(f"{run_id!r} is not the id of a run: it names a folder, and no path")
        return cls(Folder.open(storage).child(RUNS, run_id))

    @property
    def run_id(self) -> str:
        return self.folder.name

    def begin(self, task: RunTask) -> None:
        """Write what is asked for, and forget an earlier failure and what killed writers have left.
        Needs none of the run's plug-ins."""
        self.folder.write(TASK_FILE, RUN_TASK.encode(task))
        config = json.loads(task.config_json)
        text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
        self.folder.write("config.yaml", text.encode())
        self.folder.delete(FAILURE_FILE)
        self._drop_unfinished()

    def _drop_unfinished(self) -> None:
        """The time is that of a file just written: clocks of machines may differ by a day."""
        written = self.folder.state_of(TASK_FILE)
        if written is not None and written[1] is not None:
            for folder in (self.folder, *map(self.folder.child, (PIECES, CLAIMS))):
                folder.drop_unfinished(written[1] - UNFINISHED_NS)

    def task(self) -> RunTask | None:
        """What was asked for, None if nothing was. Raises DamagedFileError."""
        return self._read(TASK_FILE, RUN_TASK)

    def write_heartbeat(self, heartbeat: Heartbeat) -> None:
        now = dataclasses.replace(heartbeat, time=time.time())
        self.folder.write(HEARTBEAT_FILE, HEARTBEAT.encode(now))

    def heartbeat(self) -> Heartbeat | None:
        """Where the run stands, None before it was started. Raises DamagedFileError."""
        return self._read(HEARTBEAT_FILE, HEARTBEAT)

    def write_failure(self, failure: Failure) -> None:
        self.folder.write(FAILURE_FILE, FAILURE.encode(failure))

    def failure(self) -> Failure | None:
        """Why the last attempt failed, None if it did not. Raises DamagedFileError."""
        return self._read(FAILURE_FILE, FAILURE)

    def forget_failure(self) -> None:
        """The run is tried again."""
        self.folder.delete(FAILURE_FILE)

    def write_result(self, result: Result) -> None:
        self.folder.write(RESULT_FILE, RESULT.encode(result))
        self.folder.delete(FAILURE_FILE)

    def result(self) -> Result | None:
        """Final scores, None before the run is done. Raises DamagedFileError."""
        return self._read(RESULT_FILE, RESULT)

    def has_result(self) -> bool:
        """Whether a result is there, sound or not."""
        return self.folder.state_of(RESULT_FILE) is not None

    def _read(self, name: str, codec: Codec[T]) -> T | None:
        content = self.folder.read(name)
        return None if content is None else codec.decode(content, f"{self.folder.path}/{name}")

    def record(self, now: float | None = None) -> RunRecord:
        """State of the run; `now` is the Unix time to judge the heartbeat by.

        A damaged file counts as absent and is named in the record, so that a run is carried on from
        what is sound: without its result it trains on from its newest checkpoint. The folder is
        listed once and only what is there is read: a store far away is slow to say "not there".
        """
        damaged = list[str]()
        there = set(self.folder.files())

        def sound(name: str, read: Callable[[], T | None]) -> T | None:
            try:
                return read() if name in there else None
            except DamagedFileError as error:
                damaged.append(str(error))
                return None

        result = sound(RESULT_FILE, self.result)
        heartbeat = sound(HEARTBEAT_FILE, self.heartbeat)
        failure = None if result else sound(FAILURE_FILE, self.failure)
        now = time.time() if now is None else now
        state = run_state(
            has_result=result is not None,
            failure_kind=failure.kind if failure else None,
            is_alive=is_alive(heartbeat, now) if heartbeat else None,
        )
        return RunRecord(
            state=state,
            heartbeat=heartbeat,
            failure=failure,
            result=result,
            damaged=tuple(damaged),
        )

    def request_cancel(self, *, at_checkpoint: bool = False, why: str = "") -> None:
        """Ask a running attempt to stop, at its next log moment or after its next checkpoint."""
        self.folder.write(CANCEL_FILE, AT_CHECKPOINT + why.encode() if at_checkpoint else b"")

    def why_stopped(self) -> str:
        """Why somebody asks it to stop after a checkpoint, as far as that was said."""
        content = (self.folder.read(CANCEL_FILE) or b"").removeprefix(AT_CHECKPOINT)
        return content.decode(errors="replace")  # a damaged word stops the run no less

    def stop_requested(self) -> StopWish:
        """When a running attempt is asked to stop."""
        content = self.folder.read(CANCEL_FILE)
        if content is None:
            return "never"
        return "checkpoint" if content.startswith(AT_CHECKPOINT) else "report"


def to_keep(record: RunRecord) -> RunRecord:
    """A record for who keeps ten thousand of them: without scores, and without the processes that
    were at the run, which have been judged by. Texts that records have in common are kept once."""
    beat = record.heartbeat
    if beat is not None:
        beat = dataclasses.replace(
            beat,
            launcher=NOBODY,
            worker=NOBODY,
            launch_id=sys.intern(beat.launch_id),
            device=sys.intern(beat.device),
            node=sys.intern(beat.node),
        )
    result = record.result
    if result is not None:
        result = dataclasses.replace(
            result,
            evaluations=(),
            device=sys.intern(result.device),
            host=sys.intern(result.host),
            code_version=sys.intern(result.code_version),
        )
    return dataclasses.replace(record, heartbeat=beat, result=result)


def is_alive(heartbeat: Heartbeat, now: float) -> bool:
    """Whether a process is still at it: on this machine one that exists, whatever the age of its
    heartbeat; of another machine's nothing is known but that."""
    worker_gone = heartbeat.worker.is_gone()
    if heartbeat.state != ALIVE or heartbeat.launcher.is_gone() or worker_gone:
        return False
    return worker_gone is False or now - heartbeat.time < STALE_AFTER_S
