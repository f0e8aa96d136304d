"""A process that is told to holds Python's lock, and one without the hook is never told."""

import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from rml_platform.chaos import holding
from rml_platform.chaos.arena import Arena, MissedError
from rml_platform.chaos.faults import processes
from rml_platform.chaos.targets import Target

HOLD_S = 1
TELLS_PAUSES = """
import sys, threading, time

longest_s = 0.0
is_asked = threading.Event()
threading.Thread(target=lambda: (sys.stdin.readline(), is_asked.set()), daemon=True).start()
last_s = time.monotonic()  # the lock may be held before the next line ends
print("begun", flush=True)
while not is_asked.is_set() or longest_s < 0.5:
    now_s = time.monotonic()
    longest_s = max(longest_s, now_s - last_s)
    last_s = now_s
print(longest_s)
"""


def started(text: str, environment: dict[str, str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", text],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


def test_no_thread_of_python_gets_on_while_the_lock_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "HOLD_S", HOLD_S)
    monkeypatch.setenv("PYTHONPATH", holding.python_path(holding.write_hook(tmp_path / "hook")))
    process = started(TELLS_PAUSES, dict(os.environ))
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        assert holding.awaits_signal(process.pid)
        process.send_signal(holding.hold_signal())
        said, _ = process.communicate("what was it?\n")
        assert float(said) >= HOLD_S * 0.99
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()


def test_a_process_without_the_hook_is_left_alone(
    idle_arena: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = started("input()", dict(os.environ))
    try:
        target = Target.here(process.pid, "the trainer")
        monkeypatch.setattr(processes, "any_worker", lambda arena, rng: ("run-1", target))
        with pytest.raises(MissedError, match="was not started with the hook"):
            processes.worker_locked(idle_arena, Random(0))
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
    assert not holding.awaits_signal(process.pid)
