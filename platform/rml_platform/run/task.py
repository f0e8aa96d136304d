"""RunTask: everything a worker needs to carry out one run, as one small value that travels as
JSON."""

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import psutil
import pydantic

from rml_dashboards.contract.names import PLAIN_NAME, RUN_ID
from rml_dashboards.contract.tags import threads_of
from rml_platform.plugins import require_loaded
from rml_platform.run.codec import Codec
from rml_trainers.errors import ConfigError
from rml_trainers.settings.plugins import Plugin

if TYPE_CHECKING:
    from rml_trainers.config import RunConfig

PREPARED = "cache"
"""Folder of prepared images in an output folder."""
SAME_START_S = 2.0
"""Start times that differ by less are one: the system's boot time, from which they are counted, is
known to the second. No system gives out a process number again that quickly."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Process:
    """One process of one machine; the start time tells it from a later one with the same number."""

    host: str
    pid: int
    started: str
    """Hundredths of a second since the machine was started, which a clock that is set does not
    change; empty for a process that had gone."""
    machine: str = ""
    """Tells this start of this machine (or container) from others with the same host name; empty
    where an earlier version wrote it."""

    @classmethod
    def current(cls) -> "Process":
        return cls.of(os.getpid())

    @classmethod
    def of(cls, pid: int) -> "Process":
        """A process of this machine."""
        try:
            started = f"{100 * _start_s(pid):.0f}"
        except psutil.NoSuchProcess:
            started = ""
        return cls(host=socket.gethostname(), pid=pid, started=started, machine=_machine())

    def is_gone(self) -> bool | None:
        """True or False for a process of this machine; None for another machine's, of which nothing
        is known."""
        if self.host != socket.gethostname() or self.machine not in ("", _machine()):
            return None
        try:
            if psutil.Process(self.pid).status() == psutil.STATUS_ZOMBIE:
                return True
            started_s = _start_s(self.pid)
        except psutil.NoSuchProcess:
            return not _is_hidden(self.pid)
        except psutil.AccessDenied:
            return False
        return not self.started or abs(started_s - int(self.started) / 100) > SAME_START_S

    def send(self, signum: int) -> bool:
        """Send it a signal, unless it has gone or its number is another process's by now, or it is
        not of this machine: then False."""
        if self.is_gone() is False:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signum)
                return True
        return False


@functools.cache
def start_of_machine() -> str:
    """Tells this start of this machine from others; empty where the system does not."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # not Linux
        return ""


@functools.cache
def _machine() -> str:
    """Process numbers mean the same where this is equal: one start of one machine, and one
    namespace of process numbers on it."""
    boot = start_of_machine()
    try:
        numbers = Path("/proc/self/ns/pid").readlink()
    except OSError:  # not Linux
        return ""
    return hashlib.sha256(f"{boot} {numbers}".encode()).hexdigest()[:12] if boot else ""


def _start_s(pid: int) -> float:
    """Seconds from the start of the machine to the start of a process."""
    return psutil.Process(pid).create_time() - psutil.boot_time()


def _is_hidden(pid: int) -> bool:
    """Whether a process is there that psutil does not see: /proc can be mounted (hidepid) so that
    other people's processes are not in it, but a signal to one is refused and not lost."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return False


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoredInput:
    """Something that a run reads and that another machine may not have where the launcher does."""

    role: str
    """What reads it: `prepared` for the images, else the key of the configuration that names it
    (`network.weights_file`)."""
    name: str
    """`<readable>-<content hash>`: its folder in `inputs/` of the storage and in a node's cache."""
    place: str
    """Absolute path of it on the machine that launched the run: a folder or a file."""

    @property
    def content_hash(self) -> str:
        return self.name.rpartition("-")[2]


def _named(pattern: "re.Pattern[str]", what: str) -> pydantic.AfterValidator:
    def check(name: str) -> str:
        if not pattern.fullmatch(name):
            raise ValueError(f"{name!r} cannot be the {what}")
        return name

    return pydantic.AfterValidator(check)


Size = tuple[object, ...]
"""Equal for runs that the same nodes hold equally many of."""
StudyName = Annotated[str, _named(PLAIN_NAME, "name of a study")]
RunId = Annotated[str, _named(RUN_ID, "id of a run")]
"""Both name folders, and experiments of a tracker: what is read from a file that anybody may have
written leads nowhere else."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunTask:
    """One run of one launch."""

    run_id: RunId
    config_json: str
    """The resolved RunConfig."""
    storage: str
    """Path or URI of the folder that holds `runs/`."""
    prepared_folder: str
    """Of the run's images. Counted from the storage where it lies under it, so that an output
    folder can be moved; else an absolute path."""
    data_root: str | None
    split_hash: str
    data_hash: str
    study: StudyName
    launch_id: str
    launcher: Process
    """The driver process; a heartbeat whose launcher died is not alive, however fresh."""
    code_version: str
    dirty: bool
    execution: Literal["train", "direct"] = "train"
    num_workers: int = 1
    cpus_per_worker: float = 1
    gpus_per_worker: float = 0
    accelerator: str | None = None
    """Kind of GPU, as Ray names it."""
    labels: tuple[tuple[str, str], ...] = ()
    """Of the nodes that the run may be on: label and selector."""
    placement: Literal["pack", "one_node"] = "pack"
    backend: Literal["gloo", "nccl"] = "gloo"
    """Of torch.distributed; chosen where it is known whether the GPUs are real."""
    shared_stages: tuple[str, ...] = ()
    """Hashes of the ends of stages that other runs of the study pass through too."""
    result_version: int = 1
    """The trainer's `RESULT_VERSION` when the run was planned; tasks written before this field was
    there are of the first version."""
    system_metrics: bool = False
    """Whether use of the machine is measured wherever steps report."""
    repeat_of: str = ""
    """Id of the run that it repeats with other rounding."""
    class_names: tuple[str, ...] = ()
    """Of the run's images, in the order of their numbers; empty in tasks written before this field
    was there."""
    num_labelled: int = 0
    """Images of its split with labels; 0 in tasks written before this field was there."""
    num_unlabelled: int = 0
    """Images of its split without labels, likewise."""
    plugins: tuple[Plugin, ...] = ()
    """What has to be loaded before the configuration can be read and the run be scored."""
    micro_batches: int = 1
    """Multiplies `batch.accumulate`, after the device ran out of memory."""
    stop_by: float | None = None
    """Unix time at which the run has to have stopped, done or not."""
    avoid: tuple[str, ...] = ()
    """Nodes of the cluster that the next attempt should not be on."""
    unusable: tuple[str, ...] = ()
    """Nodes of the cluster that no attempt may be on: they cannot do it, or are not known yet."""
    inputs: tuple[StoredInput, ...] = ()
    """What the nodes of a cluster use where it is in place, and else bring from the storage; empty
    on one machine, which has everything."""
    hand_out: int = dataclasses.field(default=0, compare=False)
    """Which start this is among all that its launch has handed out: of two attempts at one run the
    later has the higher number, whatever either of them has seen. 0: no queue handed it out."""

    @property
    def size(self) -> Size:
        """What it takes of a cluster."""
        return (
            self.cpus_per_worker,
            self.gpus_per_worker,
            self.accelerator,
            self.num_workers,
            self.labels,
            self.placement,
        )

    @property
    def prepared_path(self) -> Path:
        """Where the prepared images should lie on this machine."""
        folder = Path(self.prepared_folder)
        return folder if folder.is_absolute() else Path(self.storage) / folder

    @functools.cached_property
    def config(self) -> "RunConfig":
        """The resolved configuration. Raises ConfigError when a plug-in that it needs is not
        loaded."""
        require_loaded(self.plugins, f"run {self.run_id}")
        return config_from_json(self.config_json, f"run {self.run_id}")

    def threads(self, config: "RunConfig") -> int:
        """How many threads of torch a worker has, under its configuration: how sums are cut, and so
        rounded, depends on it."""
        return threads_of(config.runtime.threads, self.cpus_per_worker)


RUN_TASK = Codec[RunTask](
    RunTask, retired=frozenset({"shared_beginnings", "study_runs_too", "max_retries"})
)


def prepared_folder_text(folder: Path, storage: str) -> str:
    """A folder of prepared images as a task has it: `RunTask.prepared_folder`."""
    folder = folder.resolve()
    if "://" in storage or not folder.is_relative_to(Path(storage).resolve()):
        return str(folder)
    return folder.relative_to(Path(storage).resolve()).as_posix()


def as_found(task: RunTask, storage: str, out: Path) -> RunTask:
    """A recorded task whose run and images may have been moved since.

    Images that are not where the task says are looked for under their name in the output folder and
    in the storage.

    Args:
        storage: path or URI of the folder that holds `runs/` now.
        out: the output folder now.
    """
    task = dataclasses.replace(task, storage=storage)
    if task.prepared_path.is_dir():
        return task
    name = Path(task.prepared_folder).name
    for folder in (out / PREPARED / name, Path(storage) / PREPARED / name):
        if folder.is_dir():
            return dataclasses.replace(task, prepared_folder=str(folder.resolve()))
    return task


def config_to_json(config: "RunConfig") -> str:
    """The configuration as JSON; `RunTask.config` turns it back into an equal one."""
    return json.dumps(dataclasses.asdict(config), allow_nan=False)


def config_from_json(text: str, source: str) -> "RunConfig":
    """Take back what `config_to_json` gave, checked as a file is.

    Raises:
        ConfigError: it belongs to another version, or to a method, network or data set that is not
            there; `source` says what was read.
    """
    # Here, because they bring seconds of torch, which reading the records of runs does without.
    from rml_platform.study.validation import InvalidValuesError, validate
    from rml_trainers.config import RunConfig

    try:
        return validate(RunConfig, json.loads(text), lambda path: source)
    except InvalidValuesError as error:
        raise ConfigError(str(error)) from error
