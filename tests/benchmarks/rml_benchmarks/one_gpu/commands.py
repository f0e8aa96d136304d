"""Commands of ours, one at a time, that none is left of when this process is stopped."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any

from rml_benchmarks.processes.own_commands import ROOT, environment

STOP_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
TIME_UP = 124
"""Exit code of a command whose time was up, as `timeout` has it."""
POLL_S = 0.5
SECONDS_TO_STOP = 15.0
"""What a command has between SIGTERM and SIGKILL to write down what it has."""
ONE_STOP_S = 2.0
"""Signals so close together are one: a terminal, or `make`, hands on what this process got too."""
_SET_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of Linux' prctl.h."""


class Commands:
    """Runs commands, and knows whether a signal asked this process to stop.

    A command is in a session of its own, so that a signal to all that a terminal runs reaches it
    through this process only, once. On Linux it is killed when this process dies, whatever of.
    """

    def __init__(self) -> None:
        self._came = list[tuple[int, float]]()
        self._is_finishing = False

    @property
    def stopped_by(self) -> int | None:
        """The signal that asked this process to stop, None where none did."""
        return self._came[0][0] if self._came else None

    @contextlib.contextmanager
    def heeding_signals(self) -> Iterator[None]:
        """Take SIGTERM, SIGHUP and SIGINT as a wish to stop while the context is open. One that is
        ignored, as `nohup` has it, stays so. Signals can be handled in the main thread only: in
        another one nothing changes."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {one: signal.getsignal(one) for one in STOP_SIGNALS}
        for one, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(one, self._note)
        try:
            yield
        finally:
            for one, handler in before.items():
                if handler is not None:  # None: not set from Python
                    signal.signal(one, handler)

    def finish(self) -> None:
        """From here on commands run even where a signal came, and only a second one stops them."""
        self._is_finishing = True

    def run(
        self,
        words: Sequence[str],
        *,
        seconds: float | None = None,
        meanwhile: Callable[[], None] | None = None,
        every_s: float = 600.0,
    ) -> int:
        """A command from its start to its end.

        Args:
            words: after the name of this Python.
            seconds: it is stopped after so many.
            meanwhile: called every `every_s` seconds while it runs.
        Returns:
            Its exit code; negative: the signal that it died of. `TIME_UP` where its time was up,
            128 + n where signal n came before it was begun.
        """
        if self._is_to_stop:
            return 128 + self._came[-1][0]
        process = subprocess.Popen([sys.executable, *words], **_own_session())
        try:
            return self._wait(process, seconds, meanwhile, every_s)
        finally:
            _end(process)

    def _wait(
        self,
        process: "subprocess.Popen[bytes]",
        seconds: float | None,
        meanwhile: Callable[[], None] | None,
        every_s: float,
    ) -> int:
        begin = time.monotonic()
        last = begin
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(POLL_S if seconds is None else min(POLL_S, max(0.0, seconds)))
            if self._is_to_stop:
                return _end(process)
            if seconds is not None and time.monotonic() - begin >= seconds:
                _end(process)
                return TIME_UP
            if meanwhile is not None and time.monotonic() - last >= every_s:
                meanwhile()
                last = time.monotonic()

    @property
    def _is_to_stop(self) -> bool:
        return len(self._came) > (1 if self._is_finishing else 0)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self._came or now - self._came[-1][1] > ONE_STOP_S:
            self._came.append((signum, now))


def ask(words: Sequence[str], seconds: float) -> tuple[int, str, str]:
    """Exit code of a short command, its output and its errors; `TIME_UP` where it took longer.

    Args:
        words: after the name of this Python.
    """
    with subprocess.Popen(
        [sys.executable, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **_own_session(),
    ) as process:
        try:
            output, errors = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            return TIME_UP, "", ""
        finally:
            _end(process)
        return process.returncode, output, errors


def _end(process: "subprocess.Popen[bytes] | subprocess.Popen[str]") -> int:
    """Stop a command as a scheduler does, if it still runs; its exit code."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def _own_session() -> dict[str, Any]:
    return {
        "cwd": ROOT,
        "env": environment(),
        "start_new_session": True,
        "preexec_fn": _dies_with(os.getpid()),
    }


def _dies_with(parent: int) -> Callable[[], None] | None:
    """What a new process does before it becomes the command: asks Linux to be killed when the
    thread that started it dies. None on other systems, which have no such thing."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)

    def prepare() -> None:
        library.prctl(_SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before it could be told
            os._exit(128 + signal.SIGKILL)

    return prepare
