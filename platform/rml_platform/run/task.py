"""RunTask: everything a worker needs to carry out one run, as one small value that travels as
JSON."""

import dataclasses
import functools
import json
import os
import socket
from pathlib import Path
from typing import Any, Literal

import pydantic

from rml_trainers.config import RunConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class Process:
    """One process of one machine; the start time tells it from a later one with the same number."""

    host: str
    pid: int
    started: str

    @classmethod
    def current(cls) -> "Process":
        return cls.of(os.getpid())

    @classmethod
    def of(cls, pid: int) -> "Process":
        """A process of this machine."""
        return cls(host=socket.gethostname(), pid=pid, started=_start_time(pid) or "")

    def is_gone(self) -> bool | None:
        """True or False for a process of this machine; None for another machine's, of which nothing
        is known."""
        if self.host != socket.gethostname():
            return None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return (_start_time(self.pid) or "") != self.started


def _start_time(pid: int) -> str | None:
    """Start time of a process in clock ticks since boot (Linux); None where there is no /proc or
    the process died."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        fields = stat.read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunTask:
    """One run of one launch."""

    run_id: str
    config_json: str
    """The resolved RunConfig."""
    storage: str
    """Path or URI of the folder that holds `runs/`."""
    prepared_folder: str
    data_root: str | None
    split_hash: str
    data_hash: str
    study: str
    launch_id: str
    launcher: Process
    """The driver process; a heartbeat whose launcher died is not alive, however fresh."""
    code_version: str
    dirty: bool
    execution: Literal["train", "direct"] = "train"
    num_workers: int = 1
    cpus_per_worker: float = 1
    gpus_per_worker: float = 0
    backend: Literal["gloo", "nccl"] = "gloo"
    """Of torch.distributed; chosen where it is known whether the GPUs are real."""
    shared_beginnings: tuple[str, ...] = ()
    """Hashes of the ends of stages that other runs of the study pass through too."""
    max_retries: int = 2
    """Restarts after the death of a process; errors of the program itself are never retried."""

    @functools.cached_property
    def config(self) -> RunConfig:
        return _RUN_CONFIG().validate_json(self.config_json)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "RunTask":
        known = {field.name for field in dataclasses.fields(cls)}
        fields = {name: item for name, item in value.items() if name in known}
        fields["shared_beginnings"] = tuple(fields.get("shared_beginnings", ()))
        return cls(**{**fields, "launcher": Process(**value["launcher"])})


def config_to_json(config: RunConfig) -> str:
    """The configuration as JSON; `RunTask.config` turns it back into an equal one."""
    return json.dumps(dataclasses.asdict(config), allow_nan=False)


@functools.cache
def _RUN_CONFIG() -> "pydantic.TypeAdapter[RunConfig]":
    return pydantic.TypeAdapter(RunConfig)
