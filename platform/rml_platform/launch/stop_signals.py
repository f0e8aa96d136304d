"""Signals that end a launch: SIGTERM and SIGHUP stop as Ctrl-C does, a second one ends at once.

Schedulers, shells and service managers stop a process by SIGTERM, a terminal that closes sends
SIGHUP. Both raise `StoppedBySignal` in the main thread, a KeyboardInterrupt that remembers its
signal: whatever makes Ctrl-C a clean stop makes these one too, and only the exit code tells them
apart.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from rml_platform.run.files.temporary import remove_open

STOP_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class StoppedBySignal(KeyboardInterrupt):
    """A signal asked this process to stop."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum


def exit_code_of(stop: KeyboardInterrupt) -> int:
    """Exit code that shells give a process which the signal ended: 130 for Ctrl-C, 143 for
    SIGTERM, 129 for SIGHUP."""
    return 128 + (stop.signum if isinstance(stop, StoppedBySignal) else signal.SIGINT)


class _Stopper:
    """Handler of the stop signals; knows which one has come already."""

    def __init__(self, *, ignores_hangup: bool) -> None:
        self.ignores_hangup = ignores_hangup
        self.came: int | None = None
        """The signal that has come."""

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        if self.came is not None:
            # Somebody is in a hurry. What has to outlive the launch is in the run folders, and the
            # processes of a local Ray follow this one; their folder would be left.
            remove_open()
            os._exit(128 + signum)
        self.came = signum
        raise StoppedBySignal(signum)


@contextlib.contextmanager
def stopping_on_signals() -> Iterator[None]:
    """Turn stop signals into StoppedBySignal while the context is open.

    Opened again inside itself it takes the signals back from whoever took them in between, as
    `ray.init` does, and keeps to what has come so far. A SIGHUP that is ignored (`nohup`) stays
    ignored. Signals can be handled in the main thread only: in another one nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    global _stopper
    if _stopper is not None:
        _install(_stopper)
        try:
            yield
        finally:
            _install(_stopper)
        return
    before = {signum: signal.getsignal(signum) for signum in STOP_SIGNALS}
    _stopper = _Stopper(ignores_hangup=before[signal.SIGHUP] is signal.SIG_IGN)
    _install(_stopper)
    stopper = _stopper
    try:
        yield
    except KeyboardInterrupt:
        # Where the signal comes while Ray's C++ waits, Ray makes a plain KeyboardInterrupt of it.
        if stopper.came is not None:
            raise StoppedBySignal(stopper.came) from None
        raise
    finally:
        _stopper = None
        for signum, handler in before.items():
            if handler is not None:  # None: not set from Python, so it cannot be put back from here
                signal.signal(signum, handler)


def signal_that_came() -> int | None:
    """The signal that this process is stopping for, None while nobody asked for it."""
    return None if _stopper is None else _stopper.came


def interrupt_main_thread() -> None:
    """Raise StoppedBySignal in the main thread as if SIGTERM had come, whatever it waits for; does
    nothing where `stopping_on_signals` is not open.

    SIGINT would not do: it is ignored in what a shell starts in the background.
    """
    main = threading.main_thread().ident
    if _stopper is not None and main is not None:
        signal.pthread_kill(main, signal.SIGTERM)


def _install(stopper: _Stopper) -> None:
    for signum in STOP_SIGNALS:
        if signum != signal.SIGHUP or not stopper.ignores_hangup:
            signal.signal(signum, stopper)


_stopper: _Stopper | None = None
