"""Processes that something is done to, on whichever machine they are."""

import contextlib
import resource
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil

from rml_platform.run.task import Process

DONE_WITHIN_S = 60.0
"""How long a node may take to begin what is to be done on it: it starts a process for that."""


@dataclass(frozen=True)
class Target:
    """One process."""

    process: Process
    name: str
    """What it calls itself."""
    node: str = ""
    """Where it can be reached through the connected Ray alone; empty: on this machine."""

    @classmethod
    def here(cls, pid: int, name: str) -> "Target":
        """A process of this machine."""
        return cls(Process.of(pid), name)

    def __str__(self) -> str:
        where = f" on {self.process.host}" if self.node else ""
        return f"process {self.process.pid}{where}"

    def send(self, signum: int) -> bool:
        """Send it a signal; False where it, or its node, had gone."""
        return self._there(Process.send, signum)

    def limit_files(self, num_bytes: int | None) -> bool:
        """Let no file that it writes grow beyond a size, or beyond any that it may set itself;
        False where it, or its node, had gone."""
        return self._there(limit_files_of, num_bytes)

    def _there(self, work: Callable[..., bool], *arguments: Any) -> bool:
        if not self.node:
            return work(self.process, *arguments)
        import ray

        from rml_platform.launch.on_ray.nodes import call_on

        with contextlib.suppress(ray.exceptions.RayError):
            return call_on(self.node, work, self.process, *arguments, within_s=DONE_WITHIN_S)
        return False


def limit_files_of(process: Process, num_bytes: int | None) -> bool:
    """`Target.limit_files` for a process of this machine."""
    if process.is_gone() is False:
        with contextlib.suppress(psutil.NoSuchProcess):
            found = psutil.Process(process.pid)
            _, most = found.rlimit(resource.RLIMIT_FSIZE)
            found.rlimit(resource.RLIMIT_FSIZE, (most if num_bytes is None else num_bytes, most))
            return True
    return False
