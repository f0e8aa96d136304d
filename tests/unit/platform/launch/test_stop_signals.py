"""What SIGTERM and SIGHUP do to a process, alone and twice, in a shell's foreground and
background."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from rml_platform.launch.stop_signals import (
    StoppedBySignal,
    exit_code_of,
    interrupt_main_thread,
    stopping_on_signals,
)

PROGRAM = """
import os, signal, sys
from rml_platform.launch.stop_signals import StoppedBySignal, exit_code_of, stopping_on_signals
try:
    with stopping_on_signals():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()
        finally:
            {meanwhile}
            print("cleaned up", flush=True)
except StoppedBySignal as stop:
    sys.exit(exit_code_of(stop))
"""


def ended(meanwhile: str, prepare: Callable[[], object] | None = None) -> tuple[int, str]:
    """Exit code and output of a program that gets a SIGTERM, and does something while it cleans
    up."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(meanwhile=meanwhile)],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=prepare,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


def background() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


@pytest.mark.parametrize("prepare", [None, background])
def test_sigterm_stops_with_143_after_cleaning_up(prepare: Callable[[], object] | None) -> None:
    assert ended("pass", prepare) == (143, "cleaned up\n")


def test_the_signal_is_known_where_somebody_else_made_an_exception_of_it() -> None:
    with pytest.raises(StoppedBySignal) as stop, stopping_on_signals():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            threading.Event().wait(60)
        except KeyboardInterrupt:
            raise KeyboardInterrupt from None  # as Ray does when its C++ was waiting
    assert exit_code_of(stop.value) == 143


def test_a_second_one_ends_at_once() -> None:
    assert ended("os.kill(os.getpid(), signal.SIGTERM)") == (143, "")


def test_a_second_one_leaves_no_temporary_folder(tmp_path: Path) -> None:
    program = """
import os, pathlib, signal
from rml_platform.launch.stop_signals import stopping_on_signals
from rml_platform.run.files.temporary import temporary_folder
here = pathlib.Path.cwd()
with stopping_on_signals(), temporary_folder("rml-ray-", here) as folder:
    (folder / "r").mkdir()
    with temporary_folder("rml-tune-", here):
        pass
    print(len(list(here.iterdir())), flush=True)
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (143, "1\n", "")
    assert list(tmp_path.iterdir()) == []


def test_nohup_stays_nohup() -> None:
    assert ended("os.kill(os.getpid(), signal.SIGHUP)", background) == (143, "cleaned up\n")


def test_ctrl_c_keeps_its_own_code() -> None:
    assert exit_code_of(KeyboardInterrupt()) == 130


def test_handlers_are_what_they_were_afterwards() -> None:
    before = [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGHUP)]
    with stopping_on_signals(), stopping_on_signals():
        pass
    assert [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGHUP)] == before


def test_another_thread_interrupts_a_wait() -> None:
    with pytest.raises(StoppedBySignal), stopping_on_signals():
        threading.Timer(0.05, interrupt_main_thread).start()
        threading.Event().wait(60)


def test_outside_of_a_launch_nobody_is_interrupted() -> None:
    interrupt_main_thread()


def test_a_launch_in_another_thread_leaves_the_signals_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def work() -> None:
        with stopping_on_signals():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
