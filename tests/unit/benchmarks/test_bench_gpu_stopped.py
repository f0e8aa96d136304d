"""`make gpu-evidence` stopped from outside, in processes of its own and with signals that are
sent: it brings along what is done, and leaves nobody behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rml_benchmarks.gpu_evidence import RECORDS
from rml_benchmarks.one_gpu.commands import TIME_UP, Commands
from rml_benchmarks.one_gpu.records import runs_in

SOON_S = 60.0
STANDS_IN = """
import os, pathlib, signal, sys, time, zipfile
here, does, what, *words = sys.argv[1:]
here = pathlib.Path(here)
place = pathlib.Path(words[words.index("--out") + 1])
if what == "launch":
    if does == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    run = place / "runs" / "a"
    run.mkdir(parents=True)
    (run / "result.json").touch()
    (here / "pid.new").write_text(str(os.getpid()))
    (here / "pid.new").rename(here / "pid")
    time.sleep(300)
elif what == "records":
    with zipfile.ZipFile(words[words.index("--to") + 1], "w") as zipped:
        zipped.writestr("runs/a/result.json", "")
else:
    (here / "tables").touch()
"""
"""What `rml` is here: a launch that brings one run to its end and goes on."""
COMMAND = """
import signal, sys
for one in (signal.SIGHUP, signal.SIGINT):  # ignored where tests run in the background
    signal.signal(one, signal.SIG_DFL)
from rml_benchmarks import gpu_evidence
from rml_benchmarks.one_gpu import commands
here, does, stands_in, *words = sys.argv[1:]
gpu_evidence.lacking = lambda *_, **__: []
gpu_evidence.rml = lambda *words: [sys.executable, "-c", stands_in, here, does, *words]
commands.SECONDS_TO_STOP = 1.0 if does == "stubborn" else 60.0
sys.exit(gpu_evidence.main(["--dry", "--only", "training", *words]))
"""


def within_time(is_so: Callable[[], bool]) -> bool:
    end = time.monotonic() + SOON_S
    while not is_so() and time.monotonic() < end:
        time.sleep(0.02)
    return is_so()


def begun(folder: Path, does: str = "ends") -> "tuple[subprocess.Popen[str], int]":
    """The command while its launch is under way, and the process of that."""
    words = [
        sys.executable,
        "-c",
        COMMAND,
        str(folder),
        does,
        STANDS_IN,
        "--to",
        str(folder / "to"),
    ]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert within_time((folder / "pid").exists)
    return process, int((folder / "pid").read_text())


def is_alive(pid: int) -> bool:
    """One that has ended and that nobody has asked about counts as gone."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/status")
    return not (status.is_file() and "State:\tZ" in status.read_text())


@pytest.mark.parametrize(
    ("signum", "code", "does"),
    [
        (signal.SIGTERM, 143, "ends"),
        (signal.SIGHUP, 129, "ends"),
        (signal.SIGINT, 130, "ends"),
        (signal.SIGTERM, 143, "stubborn"),
    ],
)
def test_a_stop_from_outside_stops_the_launch_and_packs_what_is_done(
    signum: int, code: int, does: str, tmp_path: Path
) -> None:
    process, launch = begun(tmp_path, does)
    process.send_signal(signum)
    process.send_signal(signum)  # `make` hands on what it got, too
    said, _ = process.communicate(timeout=SOON_S)
    assert process.returncode == code, said
    assert not is_alive(launch)
    assert runs_in(tmp_path / "to" / RECORDS) == {"a"}
    assert (tmp_path / "tables").exists()
    assert f"missing: what {signal.Signals(signum).name} left undone" in said


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such signal")
def test_a_command_that_is_killed_leaves_no_launch_behind(tmp_path: Path) -> None:
    process, launch = begun(tmp_path)
    process.kill()
    process.communicate(timeout=SOON_S)
    assert within_time(lambda: not is_alive(launch))


def test_a_command_is_stopped_when_its_time_is_up_and_not_by_what_is_done_meanwhile() -> None:
    calls = list[bool]()
    words = ("-c", "import time; time.sleep(300)")

    def meanwhile() -> None:
        calls.append(True)

    assert Commands().run(words, seconds=2.0, meanwhile=meanwhile, every_s=0.5) == TIME_UP
    assert calls, "the records are packed while a launch goes on"


@pytest.mark.parametrize("code", [0, 1, 75])
def test_a_command_that_ends_by_itself_says_how(code: int) -> None:
    assert Commands().run(("-c", f"raise SystemExit({code})")) == code


def test_after_a_stop_nothing_is_begun_but_what_brings_things_to_an_end() -> None:
    commands = Commands()
    words = ("-c", "raise SystemExit(5)")
    with commands.heeding_signals():
        os.kill(os.getpid(), signal.SIGTERM)
        assert within_time(lambda: commands.stopped_by is not None)
        assert commands.run(words) == 143
        commands.finish()
        assert commands.run(words) == 5
    assert commands.stopped_by == signal.SIGTERM


def test_a_hangup_that_is_ignored_stays_so() -> None:
    commands = Commands()
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with commands.heeding_signals():
            os.kill(os.getpid(), signal.SIGHUP)
            assert Commands().run(("-c", "pass")) == 0
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert commands.stopped_by is None
