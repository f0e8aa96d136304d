"""An attempt that was taken for dead and wakes up: it writes nothing, and nothing is taken from
it."""

import errno
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rml_platform.launch.claiming import LaunchClaims
from rml_platform.run.attempt import Attempt, WorkerContext
from rml_platform.run.checkpoints import CheckpointStore
from rml_platform.run.execute import execute
from rml_platform.run.faults import outages
from rml_platform.run.faults.claims import Claim, ClaimBoard, Held
from rml_platform.run.faults.outages import through_outages
from rml_platform.run.run_folder import RunFolder
from rml_platform.run.storage import Folder
from rml_platform.run.task import Process, RunTask, config_to_json
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.scoring.score import Evaluation
from tests.support.platform.fake_trainer import GOOD, NON_FINITE, FakeTrainer
from tests.support.platform.tasks import beat_of, fake_config, task_for

CONTEXT = WorkerContext(writer="launch-1")


@pytest.fixture
def task(tiny_data: PreparedData, tmp_path: Path) -> RunTask:
    return task_for(fake_config(GOOD), tiny_data, tmp_path, "run-1")


def folder_of(task: RunTask) -> RunFolder:
    return RunFolder.of(task.storage, task.run_id)


@pytest.mark.parametrize("moment", ["checkpoint", "result", "failure"])
def test_an_attempt_that_was_overtaken_writes_nothing(task: RunTask, moment: str) -> None:
    before: dict[str, bytes] = {}
    board = ClaimBoard(folder_of(task).folder)

    def overtake() -> None:
        wait_for_the_sign_of_life(task)
        other = Claim(launch_id="other", launcher=Process.current())
        assert board.take(other, board.newest())
        before.update(content(task))

    class Overtaken(FakeTrainer):
        def _fail(self) -> None:
            if self.step == 3 and moment != "result":
                overtake()
            if self.step == 3 and moment == "failure":
                raise ValueError("late")

        def fit(self) -> tuple[Evaluation, ...]:
            evaluations = super().fit()
            if moment == "result":
                overtake()
            return evaluations

    assert execute(task, CONTEXT, Overtaken) == "fenced"
    assert before
    assert content(task) == before


@pytest.mark.parametrize("moment", ["newest_sound", "discard_newer_than"])
def test_an_attempt_that_was_overtaken_before_its_sign_of_life_deletes_nothing(
    task: RunTask, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    bad = replace(task, config_json=config_to_json(fake_config(NON_FINITE)))
    assert execute(bad, CONTEXT, FakeTrainer) == "failed"
    before: dict[str, bytes] = {}
    work = getattr(CheckpointStore, moment)

    def and_then_overtaken(self: CheckpointStore, *arguments: Any) -> Any:
        done = work(self, *arguments)
        before.update(overtaken(task))
        return done

    monkeypatch.setattr(CheckpointStore, moment, and_then_overtaken)
    again = replace(task, launch_id="launch-2")
    assert execute(again, WorkerContext(writer="launch-2"), FakeTrainer) == "fenced"
    assert before
    assert content(task) == before


def test_an_attempt_that_was_overtaken_while_it_saved_deletes_nothing(
    task: RunTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    before: dict[str, bytes] = {}
    upload = Folder.upload

    def and_then_overtaken(self: Folder, source: Path, name: str, **rest: Any) -> None:
        upload(self, source, name, **rest)
        if name.startswith("checkpoint_000000003"):
            wait_for_the_sign_of_life(task)
            before.update(overtaken(task))

    monkeypatch.setattr(Folder, "upload", and_then_overtaken)
    assert execute(task, CONTEXT, FakeTrainer) == "fenced"
    assert before
    assert content(task).keys() == before.keys()


def overtaken(task: RunTask) -> dict[str, bytes]:
    """Another launch takes the run, and goes on with it; what there is then."""
    run = folder_of(task).folder
    board = ClaimBoard(run)
    assert board.take(Claim(launch_id="other", launcher=Process.current()), board.newest())
    run.write("checkpoints/other/checkpoint_000000004_009/manifest.json", b"{}")
    run.write("metrics/000000004.json", b"[]")
    return content(task)


def wait_for_the_sign_of_life(task: RunTask) -> None:
    """The first after a report is written at once, from a thread of its own, and could be under way
    at the moment of the take-over; the next comes two seconds later."""
    while (beat := folder_of(task).heartbeat()) is None or beat.step == 0:
        time.sleep(0.01)


def content(task: RunTask) -> dict[str, bytes]:
    """Every file of the run but those of an attempt's own scratch folder."""
    run = Path(task.storage) / "runs" / task.run_id
    return {
        str(path.relative_to(run)): path.read_bytes()
        for path in run.rglob("*")
        if path.is_file() and not path.relative_to(run).parts[0].startswith("work-")
    }


def test_a_run_that_another_launch_holds_is_not_begun(task: RunTask) -> None:
    board = ClaimBoard(folder_of(task).folder)
    board.take(Claim(launch_id="other", launcher=Process.current()), None)
    assert execute(task, CONTEXT, FakeTrainer) == "fenced"
    assert folder_of(task).task() is None


def test_an_attempt_that_waited_for_the_storage_leaves_the_run_to_a_later_one(
    task: RunTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The storage is away when it wants to claim; meanwhile its launch starts another one."""
    monkeypatch.setattr(outages, "FIRST_PAUSE_S", 0.0)
    board = ClaimBoard(folder_of(task).folder)
    board.take(Claim(launch_id=task.launch_id, launcher=task.launcher), None)
    died = replace(board_claim(board), worker=gone(), attempt=1)
    board.take(died, board.newest())
    early = Attempt(replace(task, hand_out=2), CONTEXT)
    newest = ClaimBoard.newest
    later = replace(gone(), host="another")
    is_away = [True]

    def flaky(self: ClaimBoard) -> Held | None:
        if self is early.claims and is_away:
            is_away.clear()
            assert board.take(replace(died, worker=later, attempt=3), newest(board))
            raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        return newest(self)

    monkeypatch.setattr(ClaimBoard, "newest", flaky)
    assert through_outages(early.outcome_so_far) == "fenced"
    assert board_claim(board).worker == later
    next_one = Attempt(replace(task, hand_out=4), CONTEXT)
    assert next_one.outcome_so_far() is None, "it takes the place of both"


def test_an_attempt_whose_first_look_comes_late_leaves_the_run_to_a_later_one(
    task: RunTask,
) -> None:
    folder = folder_of(task)
    launch = LaunchClaims(task.storage, {task.run_id: folder}, task.launch_id, pytest.fail)
    assert launch.take([task.run_id])

    def begins(hand_out: int) -> bool:
        return Attempt(replace(task, hand_out=hand_out), CONTEXT).outcome_so_far() is None

    assert begins(2)
    assert not begins(1)
    assert board_claim(ClaimBoard(folder.folder)).attempt == 2
    assert begins(3)
    launch.give_back(task.run_id)
    assert not begins(4), "its launch is through with the run"
    assert launch.take([task.run_id])
    assert begins(5)


def board_claim(board: ClaimBoard) -> Claim:
    """The claim that counts."""
    held = board.newest()
    assert held is not None and held.claim is not None
    return held.claim


@pytest.mark.parametrize(
    ("launch_id", "hand_out", "is_written"),
    [("launch-1", 5, False), ("launch-1", 4, True), ("other", 0, False)],
)
def test_no_worker_of_a_group_that_was_overtaken_writes_down_why_it_failed(
    task: RunTask, launch_id: str, hand_out: int, is_written: bool
) -> None:
    class OnRank1(FakeTrainer):
        rank = staticmethod(lambda: 1)

        def _fail(self) -> None:
            raise ValueError("late")

    board = ClaimBoard(folder_of(task).folder)
    held = Claim(launch_id=launch_id, launcher=Process.current(), attempt=hand_out)
    board.take(held, None)
    context = WorkerContext(writer="launch-1", rank=1, world_size=2, agree=lambda value: None)
    with pytest.raises(ValueError, match="late"):
        execute(replace(task, hand_out=4), context, OnRank1)
    assert (folder_of(task).failure() is not None) is is_written


def test_an_attempt_that_may_yet_wake_up_keeps_its_scratch_folder(task: RunTask) -> None:
    run = Path(task.storage) / "runs" / task.run_id
    found: list[Path] = []

    class Looking(FakeTrainer):
        def fit(self) -> tuple[Evaluation, ...]:
            found.extend(self.work_dir.glob("labels"))
            return super().fit()

    for earlier, is_found in ((Process.current(), False), (gone(), True)):
        found.clear()
        beat = beat_of(launcher=Process.current(), worker=earlier)
        folder_of(task).write_heartbeat(beat)
        (run / "work-001-0").mkdir()
        (run / "work-001-0" / "labels").touch()
        assert execute(task, CONTEXT, Looking) == "done"
        assert bool(found) is is_found
        assert not list(run.glob("work-*"))
        folder_of(task).folder.delete("result.json")


def test_two_attempts_of_one_number_have_folders_of_their_own(task: RunTask) -> None:
    """The first has begun, and has not yet given its sign of life when the second begins."""
    first = Attempt(replace(task, hand_out=1), CONTEXT)
    second = Attempt(replace(task, hand_out=2), CONTEXT)
    assert first.number == second.number
    with second._scratch() as winners:
        (winners / "labels").touch()
        with first._scratch() as losers:
            assert losers != winners
        assert (winners / "labels").exists()
        folder_of(task).write_heartbeat(beat_of(worker=gone()))
        with first._scratch(), Attempt(task, CONTEXT)._scratch() as third:
            assert not list(third.iterdir()), "nobody knows which of the two is the dead one's"
    assert not list((Path(task.storage) / "runs" / task.run_id).glob("work-*"))


def gone() -> Process:
    return replace(Process.current(), pid=2**22 - 1, started="1")
