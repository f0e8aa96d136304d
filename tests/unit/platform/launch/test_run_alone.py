"""When `rml run` takes a run that another launch has begun; nothing is trained here."""

import contextlib
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from rml_platform.launch import run_alone as module
from rml_platform.launch.output_layout import OutputLayout
from rml_platform.launch.run_alone import run_alone
from rml_platform.planning.plan import PlannedRun, make_plan
from rml_platform.run.faults import lease as lease_module
from rml_platform.run.faults.claims import Claim, ClaimBoard
from rml_platform.run.faults.lease import lease
from rml_platform.run.run_folder import RunFolder
from rml_platform.run.task import Process
from rml_platform.study.schema import load_study
from rml_trainers.errors import ConfigError
from tests.support.platform.studies import SMALLEST, write_study

STUDY = f"""\
name: tiny
{SMALLEST}\
  schedule: {{warm_up_steps: 5, stage_steps: []}}
"""
REBOOTED = replace(Process.current(), machine="before")
"""A process of this machine before it was started anew."""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PlannedRun:
    monkeypatch.setattr(lease_module, "DEAD_AFTER_S", 0.3)
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.05)
    study = load_study(write_study(tmp_path, STUDY))
    (run,) = make_plan(study, data_root=None, cache_root=tmp_path / "cache").runs
    return run


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the runs that were begun."""
    found: list[str] = []

    def trains_nothing(tasks: Any, *rest: Any, **named: Any) -> None:
        found.extend(task.run_id for task in tasks)

    monkeypatch.setattr(module, "run_here", trains_nothing)
    return found


def begun_by(launcher: Process, run: PlannedRun, storage: Path) -> None:
    board = ClaimBoard(RunFolder.of(str(storage), run.run_id).folder)
    assert board.take(Claim(launch_id="first", launcher=launcher), None)


def call(run: PlannedRun, place: Path) -> str:
    """What `rml run` says."""
    said = io.StringIO()
    layout = OutputLayout(root=place, storage=str(place))
    console = Console(file=said, width=1000)
    run_alone(run, layout=layout, data_root=None, tracking_uri="none", console=console)
    return said.getvalue()


def test_what_was_begun_before_the_machine_was_started_anew_is_taken_over(
    run: PlannedRun, trained: list[str], tmp_path: Path
) -> None:
    begun_by(REBOOTED, run, tmp_path)
    said = call(run, tmp_path)
    assert trained == [run.run_id]
    assert said.count("is held by launch first (process ") == 1


@pytest.mark.parametrize("launcher", [REBOOTED, Process.current()])
def test_what_another_launch_is_at_is_refused(
    launcher: Process, run: PlannedRun, trained: list[str], tmp_path: Path
) -> None:
    begun_by(launcher, run, tmp_path)
    is_elsewhere = launcher is REBOOTED
    renewed = lease(str(tmp_path), "first", every_s=0.02) if is_elsewhere else None
    with (
        renewed or contextlib.nullcontext(),
        pytest.raises(ConfigError, match=r"is running already, in launch first \(process "),
    ):
        call(run, tmp_path)
    assert trained == []
