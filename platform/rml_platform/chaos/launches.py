"""`rml launch` as a process of its own, which can be killed, stopped and started again."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

MARK = "RML_CHAOS"
"""Environment variable of everything that a round starts, so that what is left of it is found."""
RML = (sys.executable, "-c", "from rml_platform.cli import main; main()")
POLL_S = 0.1
GOES_WITHIN_S = 30.0
"""How long what a killed launch has started may take to follow it."""
STOPS_WITHIN_S = 30.0
"""How long a stopped process may take to stand still: it must have its turn on a core once more."""
AT_REST = (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP, psutil.STATUS_ZOMBIE)


class Launch:
    """One `rml launch` in a session of its own, as a terminal or a scheduler starts it."""

    def __init__(self, arguments: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        """Everything it prints goes to `log`."""
        self.log = log
        self.is_crash_meant = False
        """A fault has crashed it: what it says of that counts for nothing."""
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [*RML, "launch", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    @property
    def exit_code(self) -> int | None:
        """None while it lives."""
        return self.process.poll()

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def send(self, signum: int) -> None:
        """Send it a signal; one that has ended gets none."""
        if self.exit_code is None:
            self.process.send_signal(signum)

    def stand_still(self) -> list[psutil.Process]:
        """Stop it and all that it has started, none of which notices; returns what was stopped.

        All of it stands still when this returns, or has had time enough to.
        """
        self.send(signal.SIGSTOP)
        stopped = []
        for process in (psutil.Process(self.process.pid), *descendants(self.process.pid)):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
                stopped.append(process)
        end = time.monotonic() + STOPS_WITHIN_S
        while not all(map(is_at_rest, stopped)) and time.monotonic() < end:
            time.sleep(POLL_S / 10)
        return stopped

    def wait(self, patience_s: float) -> bool:
        """Whether it came to its end within a time."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(patience_s)
        return self.exit_code is not None

    def end(self) -> None:
        """Kill it, and what it has started: nothing of it is there any more when this returns."""
        found = descendants(self.process.pid)
        self.send(signal.SIGKILL)
        self.process.wait()
        _, alive = psutil.wait_procs(found, GOES_WITHIN_S)
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(alive)


def is_at_rest(process: psutil.Process) -> bool:
    """Whether it does nothing: it stands still, or has ended."""
    try:
        return process.status() in AT_REST
    except psutil.NoSuchProcess:
        return True


def descendants(pid: int) -> list[psutil.Process]:
    """The living processes that a process has started, and theirs."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def marked(value: str) -> list[psutil.Process]:
    """The living processes of this user that a round has started."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            is_alive = process.status() != psutil.STATUS_ZOMBIE
            if is_alive and process.environ().get(MARK) == value:
                found.append(process)
    return found


def title(process: psutil.Process) -> str:
    """What a process calls itself: `ray::…` of the actors and tasks of Ray."""
    try:
        return (process.cmdline() or [process.name()])[0]
    except psutil.Error:
        return ""


def wait_until_gone(process: psutil.Process, patience_s: float = GOES_WITHIN_S) -> None:
    """Return once a process is gone, or nobody has patience any more."""
    end = time.monotonic() + patience_s
    while process.is_running() and time.monotonic() < end:
        if process.status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(POLL_S)
