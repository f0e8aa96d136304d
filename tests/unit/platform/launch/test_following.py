"""What a launch does with runs that another launch is at."""

import contextlib
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest

from rml_platform.launch import launch as module
from rml_platform.launch.scheduling.budgets import Terms
from rml_platform.launch.scheduling.turns import Turns
from rml_platform.run.attempt import WorkerContext
from rml_platform.run.execute import execute
from rml_platform.run.faults import lease
from rml_platform.run.faults.claims import Claim, ClaimBoard, give_back
from rml_platform.run.task import Process, RunTask
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.scoring.score import Evaluation
from tests.support.platform.fake_trainer import GOOD, FakeTrainer
from tests.support.platform.tasks import beat_of, fake_config, task_for
from tests.unit.platform.launch.conftest import Grid, carry_out_by


class Other:
    """Another launch that holds the good run of a grid, and does something while it is followed."""

    def __init__(self, grid: Grid, launcher: Process) -> None:
        self.run = grid.run(grid.good)
        self.claims = ClaimBoard(self.run.folder)
        self.launcher = launcher
        self.claims.take(Claim(launch_id="other", launcher=launcher), None)

    def train(self, trainer: type[FakeTrainer], data: PreparedData, folder: Path) -> None:
        """One attempt, as its worker does it."""
        config = fake_config(GOOD)
        task = task_for(config, data, folder, self.run.run_id, launch_id="other")
        execute(replace(task, launcher=self.launcher), WorkerContext(writer="other"), trainer)

    def leave(self) -> None:
        give_back(self.claims, "other")


def while_followed(monkeypatch: pytest.MonkeyPatch, *happenings: Callable[[], object]) -> None:
    """What happens each time that the launch waits for another one."""
    coming = iter(happenings)
    monkeypatch.setattr(module._Launch, "_wait", lambda self: next(coming)())


def test_a_run_of_another_launch_is_followed_to_its_end(
    grid: Grid, monkeypatch: pytest.MonkeyPatch, tiny_data: PreparedData
) -> None:
    other = Other(grid, Process.current())
    while_followed(
        monkeypatch,
        lambda: other.train(FakeTrainer, tiny_data, grid.folder),
        lambda: None,  # its result is there, but not yet in the tracker
        other.leave,
    )
    report = grid.launch()
    assert (report.done_elsewhere, report.done, list(report.failed)) == (
        [grid.good],
        [],
        [grid.bad],
    )
    assert grid.trained == [grid.bad]
    assert "belong to launch other" in grid.said.getvalue()


def test_what_another_launch_leaves_unfinished_is_taken_over(
    grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Other(grid, Process.current())
    while_followed(monkeypatch, other.leave)
    long_before = Terms(deadline=time.time() + 1e6)
    assert grid.launch(terms=long_before).done == [grid.good]


def test_what_another_launch_has_spent_is_not_spent_by_the_one_that_takes_over(
    grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Other(grid, Process.current())
    hours = 3600.0 * 100
    while_followed(
        monkeypatch,
        lambda: other.run.write_heartbeat(beat_of(launch_id="other", seconds=hours)),
        other.leave,
    )
    report = grid.launch(terms=Terms(max_gpu_hours=1))
    assert (report.done, report.held_back) == ([grid.good], {})


def test_a_launch_that_is_killed_is_taken_over_at_once(
    grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        Other(grid, Process.of(process.pid))
        while_followed(monkeypatch, process.kill, process.wait)
        assert grid.launch().done == [grid.good]
    assert sorted(grid.trained) == sorted([grid.good, grid.bad])


def test_what_fails_in_another_launch_is_not_tried_again_here(
    grid: Grid, monkeypatch: pytest.MonkeyPatch, tiny_data: PreparedData
) -> None:
    class Bad(FakeTrainer):
        def fit(self) -> tuple[Evaluation, ...]:
            raise ValueError("no")

    other = Other(grid, Process.current())

    def fail_and_leave() -> None:
        other.train(Bad, tiny_data, grid.folder)
        other.leave()

    while_followed(monkeypatch, fail_and_leave)
    report = grid.launch()
    assert sorted(report.failed) == sorted([grid.good, grid.bad])
    assert (grid.trained, report.exit_code) == ([grid.bad], 1)


def test_a_failure_that_a_launch_did_not_live_to_judge_is_no_end_of_the_run(
    grid: Grid, monkeypatch: pytest.MonkeyPatch, tiny_data: PreparedData
) -> None:
    class Full(FakeTrainer):
        def fit(self) -> tuple[Evaluation, ...]:
            raise MemoryError("cannot allocate memory")

    monkeypatch.setattr(lease, "ORPHANS_LEAVE_S", 0.0)  # its worker is this process
    with subprocess.Popen(["sleep", "60"]) as process:
        other = Other(grid, Process.of(process.pid))

        def fail_and_die() -> None:
            other.train(Full, tiny_data, grid.folder)
            process.kill()
            process.wait()

        while_followed(monkeypatch, fail_and_die)
        report = grid.launch()
    assert (report.done, list(report.failed)) == ([grid.good], [grid.bad])


def test_a_launch_that_only_follows_can_be_stopped(
    grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    ahead = Mock()
    monkeypatch.setattr(module, "ray_ahead", lambda *what: contextlib.nullcontext(ahead))
    Other(grid, Process.current())
    while_followed(monkeypatch, stop)
    report = grid.launch()
    assert (report.running_elsewhere, report.left, report.exit_code) == ([grid.good], [], 130)
    ahead.close.assert_called_once()  # others may have its GPUs meanwhile


def test_a_deadline_ends_a_launch_that_follows_another_one(
    grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    Other(grid, Process.current())
    while_followed(monkeypatch)  # it does not wait once
    report = grid.launch(terms=Terms(deadline=time.time()))
    assert (report.running_elsewhere, report.left) == ([grid.good], [grid.bad])
    assert report.over_budget == dict.fromkeys([grid.good, grid.bad], "the deadline has passed")
    assert (grid.trained, report.exit_code) == ([], 3)


def test_a_run_that_is_taken_over_in_the_middle_is_followed(
    grid: Grid, monkeypatch: pytest.MonkeyPatch, tiny_data: PreparedData
) -> None:
    def overtaken(tasks: Sequence[RunTask], **rest: object) -> dict[str, str]:
        board = ClaimBoard(grid.run(grid.good).folder)
        claim = Claim(launch_id="other", launcher=Process.current())
        assert board.take(claim, board.newest())
        return grid.carry_out(tasks, turns=Turns())

    carry_out_by(monkeypatch, overtaken)
    board = ClaimBoard(grid.run(grid.good).folder)

    def finish() -> None:
        task = task_for(fake_config(GOOD), tiny_data, grid.folder, grid.good, launch_id="other")
        assert execute(task, WorkerContext(writer="other"), FakeTrainer) == "done"
        give_back(board, "other")

    while_followed(monkeypatch, lambda: None, finish)
    report = grid.launch()
    assert (report.done, report.done_elsewhere) == ([], [grid.good]), report
