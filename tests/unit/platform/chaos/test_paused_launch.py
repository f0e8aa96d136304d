"""A launch that stands still with all that it has started, and goes on."""

import time
from pathlib import Path
from random import Random
from types import SimpleNamespace

import psutil
import pytest

from rml_platform.chaos import launches
from rml_platform.chaos.arena import Arena, MissedError
from rml_platform.chaos.faults import processes
from rml_platform.chaos.launches import Launch, descendants
from rml_platform.chaos.monkey import QUICK_RULES

WITH_A_CHILD = ("sh", "-c", "sleep 600 & wait", "sh")


def test_all_of_a_launch_stands_still_and_goes_on(
    idle_arena: Arena, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launches, "RML", WITH_A_CHILD)
    monkeypatch.setattr(launches, "GOES_WITHIN_S", 0.1)  # the child outlives a shell
    launch = Launch([], tmp_path / "log", {})
    try:
        while not descendants(launch.process.pid):
            time.sleep(0.01)
        tree = [psutil.Process(launch.process.pid), *descendants(launch.process.pid)]
        idle_arena.launches.append(launch)
        slept: list[float] = []

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            assert {process.status() for process in tree} == {psutil.STATUS_STOPPED}

        with monkeypatch.context() as patch:
            patch.setattr(processes, "time", SimpleNamespace(sleep=sleep))
            said = processes.launch_paused(idle_arena, Random(0))
            patch.setattr(processes, "is_at_rest", lambda process: process.pid != tree[0].pid)
            untrue = processes.launch_paused(idle_arena, Random(0))
        assert said == "2 processes of the launch stood still for 150 s"
        assert untrue == f"{said}, but for 1 that did not stop"
        assert psutil.STATUS_STOPPED not in {process.status() for process in tree}
    finally:
        launch.end()
    (longest,) = (rule for rule in QUICK_RULES if rule.startswith("retry.hang_at_least_s="))
    assert slept[0] > float(longest.partition("=")[2]), "else it would be no danger"
    with pytest.raises(MissedError, match="ended already"):
        processes.launch_paused(idle_arena, Random(0))
