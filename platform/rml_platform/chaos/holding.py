"""A process that holds Python's lock on a signal, as a C call does that does not let go of it.

Signals alone cannot do that to a process from outside, so it is started with a hook: a file that
Python itself loads first, before anything of the product. Nothing here imports anything of ours.
"""

import ctypes
import os
import signal
import threading
from pathlib import Path

HOLD_S = 70
"""Longer than the minute that most libraries wait for an answer."""


def write_hook(folder: Path) -> Path:
    """Write the hook into a new folder, which belongs first into PYTHONPATH; returns the folder."""
    folder.mkdir(parents=True)
    hook = f"from {__name__} import await_signal\n\nawait_signal({HOLD_S})\n"
    (folder / "sitecustomize.py").write_text(hook)
    return folder


def python_path(first: Path) -> str:
    """PYTHONPATH of this process with a folder before all others."""
    return os.pathsep.join([str(first), *filter(None, [os.environ.get("PYTHONPATH")])])


def hold_signal() -> int:
    """A real-time signal: nobody else uses it. It ends a process that does not wait for it."""
    return signal.SIGRTMAX


def await_signal(seconds: int) -> None:
    """Let a thread of this process wait for the signal, and then sleep without letting go of the
    lock: no other thread of Python gets on, while those of C++ do."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {hold_signal()})
    threading.Thread(target=_hold, args=(seconds,), name="holding", daemon=True).start()


def _hold(seconds: int) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # none cuts the sleep short
    signal.sigwait({hold_signal()})
    ctypes.PyDLL(None).sleep(seconds)


def awaits_signal(pid: int) -> bool:
    """Whether a process of this machine was started with the hook."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:  # it has ended
        return False
    (blocked,) = (int(line.split()[1], 16) for line in lines if line.startswith("SigBlk:"))
    return bool(blocked & 1 << (hold_signal() - 1))
