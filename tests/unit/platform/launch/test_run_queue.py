"""What follows from the end of an attempt: done, tried again (how, where), given up."""

import errno
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest

from rml_platform.launch.run_queue import RunQueue, can_halve_batch
from rml_platform.launch.scheduling.turns import Judge, Place, Turns
from rml_platform.run.attempt import WorkerContext
from rml_platform.run.execute import execute
from rml_platform.run.faults.claims import Claim, ClaimBoard
from rml_platform.run.run_folder import Heartbeat, RunFolder
from rml_platform.run.task import Process, RunTask, config_to_json
from rml_platform.study.retry_config import RetryConfig
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.errors import DataError
from rml_trainers.runtime.options import RuntimeConfig
from rml_trainers.settings.batch import BatchConfig
from tests.support.platform.fake_trainer import GOOD, NON_FINITE, FakeTrainer
from tests.support.platform.tasks import beat_of, fake_config, task_for
from tests.support.tiny import tiny_config

KILLED = "ActorDiedError: The actor died unexpectedly before finishing this task."
NODE_DIED = "ActorDiedError: The actor died because its node has died."


def beat(task: RunTask, node: str) -> Heartbeat:
    return beat_of(
        launch_id=task.launch_id, launcher=task.launcher, worker=Process.current(), node=node
    )


class Grid:
    """A queue over one run, and attempts at it in this process."""

    def __init__(self, data: PreparedData, folder: Path) -> None:
        self.notes: list[str] = []
        batch = BatchConfig(labelled=8, unlabelled=8)
        config = replace(fake_config(GOOD), batch=batch)
        self.task = task_for(config, data, folder, "run-1")
        self.folder = RunFolder.of(str(folder), "run-1")
        self.begin(RetryConfig())

    def begin(self, rules: RetryConfig) -> None:
        self.queue = RunQueue([self.task], rules, self.notes.append)

    def attempt(self, error: BaseException | None = None, node: str = "") -> RunTask:
        """Start the run; with an error it ends in it."""
        task = self.queue.next()
        assert task is not None

        class Failing(FakeTrainer):
            def __init__(self, *parts: object, micro_batches: int = 1, **rest: object) -> None:
                super().__init__(*parts, **rest)  # type: ignore[arg-type]

            def _fail(self) -> None:
                if error is not None and self.step == 3:
                    raise error

        execute(task, WorkerContext(writer=task.launch_id, node=node), Failing)
        self.queue.ended(task.run_id, "")
        return task

    def die(self, said: str, node: str = "") -> RunTask:
        """Start the run and lose its process."""
        task = self.queue.next()
        assert task is not None
        self.folder.begin(task)
        self.folder.write_heartbeat(beat(task, node))
        self.queue.ended(task.run_id, said)
        return task


@pytest.fixture
def grid(tiny_data: PreparedData, tmp_path: Path) -> Grid:
    return Grid(tiny_data, tmp_path)


def test_a_run_that_is_done_is_over(grid: Grid) -> None:
    assert not grid.queue.is_over
    grid.attempt()
    assert (grid.queue.is_over, grid.queue.lost, grid.notes) == (True, {}, [])


@pytest.mark.parametrize(
    "error", [DataError("damaged"), ValueError("a mistake"), OSError(28, "No space left on device")]
)
def test_what_would_fail_again_is_left_as_it_failed(grid: Grid, error: Exception) -> None:
    grid.attempt(error)
    assert (grid.queue.is_over, grid.queue.lost, grid.notes) == (True, {}, [])
    failure = grid.folder.failure()
    assert failure is not None
    assert failure.kind == type(error).__name__


def test_a_lost_process_is_replaced_as_often_as_the_rules_say_and_then_accounted_for(
    grid: Grid,
) -> None:
    grid.begin(RetryConfig(lost=2))
    for _ in range(3):
        grid.die(KILLED)
    assert grid.queue.is_over
    assert "killed or died 3 times in this launch" in grid.queue.lost["run-1"]
    assert grid.notes == ["run-1 is tried again after step 0 (lost)"] * 2


def test_every_start_of_a_run_has_a_higher_number_also_in_a_later_queue(grid: Grid) -> None:
    first = grid.queue.next()
    later = RunQueue([grid.task], RetryConfig(), grid.notes.append).next()
    assert first is not None and later is not None
    assert 0 < first.hand_out < later.hand_out


def test_a_run_that_waits_and_may_not_start_any_more_is_left_until_it_may(grid: Grid) -> None:
    reasons = {"run-1": ""}
    left_out: list[list[str]] = []

    def gate(under_way: Sequence[RunTask], started: RunTask | None) -> Judge:
        def judge(task: RunTask, without: Collection[str] = ()) -> str:
            left_out.append(sorted(without))
            return reasons.get(task.run_id, "")

        return judge

    other = replace(grid.task, run_id="run-2")
    turns = Turns(gate=gate)
    grid.queue = RunQueue([grid.task, other], RetryConfig(no_room=0), grid.notes.append, turns)
    assert [grid.queue.next(), grid.queue.next()] == [grid.task, other]
    assert grid.queue.take_back_unwanted(["run-1"]) == {}
    assert left_out[-1] == ["run-1"], "a run does not stand in its own way"
    reasons["run-1"] = "the deadline has passed"
    assert grid.queue.take_back_unwanted(["run-1"]) == {"run-1": "the deadline has passed"}
    grid.queue.ended("run-1", "")
    assert grid.queue.next() is None
    assert not grid.queue.is_over, "the other one is under way"
    assert (grid.queue.lost, grid.notes, grid.folder.failure()) == ({}, [], None)
    assert turns.reasons() == {"run-1": "the deadline has passed"}
    reasons.clear()
    assert grid.queue.next() == grid.task


def test_no_more_runs_that_wait_are_taken_back_than_have_to_be(grid: Grid) -> None:
    """Of four runs, which first have room for all, then for two and a half."""
    room = [4.0]
    looks: list[int] = []

    def gate(under_way: Sequence[RunTask], started: RunTask | None) -> Judge:
        looks.append(len(under_way))

        def judge(task: RunTask, without: Collection[str] = ()) -> str:
            others = [one for one in under_way if one.run_id not in without]
            return "" if len(others) + 1 <= room[0] else "no money"

        return judge

    names = [f"run-{i}" for i in range(4)]
    tasks = [replace(grid.task, run_id=name) for name in names]
    grid.queue = RunQueue(tasks, RetryConfig(), grid.notes.append, Turns(gate=gate))
    while grid.queue.next() is not None:
        pass
    room[0] = 2.5
    looks.clear()
    waiting = names[1:]
    found = grid.queue.take_back_unwanted(waiting)
    assert found == {"run-2": "no money", "run-3": "no money"}
    assert grid.queue.take_back_unwanted(waiting) == {}, "they are no longer counted"
    assert looks == [4, 2], "one look is enough for all of them"
    for name in found:
        grid.queue.ended(name, "")
    assert [task.run_id for task in grid.queue.under_way()] == ["run-0", "run-1"]


@pytest.mark.parametrize(
    ("said", "again"),
    [
        (NODE_DIED, "A0"),
        ("WorkerGroupStartupTimeoutError: no room", "A0"),
        ("OSError: [Errno 116] Stale file handle", "A0"),
        (KILLED, "B0"),
    ],
)
def test_a_run_keeps_its_turn_where_its_failure_was_not_its_own(
    grid: Grid, said: str, again: str
) -> None:
    rows = {"A0": ("A", 0), "A1": ("A", 1), "B0": ("B", 0), "B1": ("B", 1)}
    places = {
        run_id: (Place("s", (row,), seed, index),)
        for index, (run_id, (row, seed)) in enumerate(rows.items())
    }
    tasks = [replace(grid.task, run_id=run_id) for run_id in places]
    grid.queue = RunQueue(tasks, RetryConfig(), grid.notes.append, Turns(places))
    for _ in range(3):
        first = grid.queue.next()
        assert first is not None and first.run_id == "A0"
        grid.queue.ended("A0", said)
        if again != "A0":
            break
    order = []
    while (task := grid.queue.next()) is not None:
        order.append(task.run_id)
    assert order == (["A0", "B0", "A1", "B1"] if again == "A0" else ["B0", "A1", "B1", "A0"])


def test_the_loss_of_a_node_has_no_limit(grid: Grid) -> None:
    for _ in range(20):
        grid.die(NODE_DIED)
    grid.attempt()
    assert (grid.queue.is_over, grid.queue.lost) == (True, {})


def test_a_run_that_hung_is_tried_again_elsewhere(grid: Grid) -> None:
    grid.queue.note_hang("run-1")
    grid.die(KILLED, node="node-a")
    assert grid.attempt().avoid == ("node-a",)
    assert grid.notes == ["run-1 is tried again after step 0 (hang)"]


def test_a_node_without_its_gpu_is_avoided_at_once_and_given_up_after_two_more_tries(
    grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    auto = replace(grid.task.config, runtime=RuntimeConfig(device="auto"))
    grid.task = replace(grid.task, config_json=config_to_json(auto), gpus_per_worker=1.0)
    grid.begin(RetryConfig())
    tries = [grid.attempt(node=node) for node in ("node-a", "node-b", "node-c")]
    assert [task.avoid for task in tries] == [(), ("node-a",), ("node-a", "node-b")]
    assert grid.queue.is_over
    failure = grid.folder.failure()
    assert failure is not None
    assert failure.kind == "MissingGpuError"


@pytest.mark.parametrize("method", ["record", "forget_failure"])
def test_an_end_that_the_storage_does_not_tell_is_asked_again(
    grid: Grid, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    task = grid.queue.next()
    assert task is not None
    grid.queue.note_hang("run-1")
    grid.folder.begin(task)
    grid.folder.write_heartbeat(beat(task, "node-a"))
    away = OSError(errno.ETIMEDOUT, "Connection timed out")
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, method, Mock(side_effect=away))
        for _ in range(3):
            with pytest.raises(OSError, match="timed out"):
                grid.queue.ended("run-1", KILLED)
            assert grid.queue.under_way() == [task]
    assert grid.notes == []
    grid.queue.ended("run-1", KILLED)
    assert grid.notes == ["run-1 is tried again after step 0 (hang)"]
    assert grid.attempt().avoid == ("node-a",)


def test_a_run_whose_storage_was_away_for_long_is_tried_again(grid: Grid) -> None:
    grid.attempt(OSError(errno.EIO, "Input/output error"), node="node-a")
    assert grid.notes == ["run-1 is tried again after step 2 (storage)"]
    assert grid.attempt().avoid == (), "every node has the same storage"


def test_out_of_memory_is_tried_once_more_elsewhere(grid: Grid) -> None:
    oom = RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
    first = grid.attempt(oom, node="node-a")
    assert grid.folder.failure() is None
    second = grid.attempt(oom, node="node-b")
    assert (first.avoid, second.avoid) == ((), ("node-a",))
    assert grid.queue.is_over
    assert grid.folder.failure() is not None


def test_out_of_memory_halves_the_micro_batches_until_they_cannot_be_cut(grid: Grid) -> None:
    grid.begin(RetryConfig(on_oom="halve_batch"))
    oom = RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
    tried = []
    while not grid.queue.is_over:
        tried.append(grid.attempt(oom).micro_batches)
    assert tried == [1, 2, 4, 4]  # pieces of 8, 4 and 2 images, and once more elsewhere
    assert "in 4 times as many micro-batches" in grid.notes[1]


def test_a_later_launch_halves_what_the_one_before_came_to(grid: Grid) -> None:
    grid.begin(RetryConfig(on_oom="halve_batch", out_of_memory=0))
    oom = RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
    grid.attempt(oom)
    grid.attempt(ValueError("a mistake"))
    grid.task = replace(grid.task, launch_id="later")
    grid.begin(RetryConfig(on_oom="halve_batch", out_of_memory=0))
    grid.notes.clear()
    tried = []
    while not grid.queue.is_over:
        grid.attempt(oom)
        beat = grid.folder.record().heartbeat
        assert beat is not None
        tried.append(beat.micro_batches)
    assert tried == [2, 4], "pieces of 4 and 2 images, none of them twice"
    assert [note.rpartition(", ")[2] for note in grid.notes] == ["in 4 times as many micro-batches"]


def test_the_result_says_that_it_was_made_from_smaller_micro_batches(grid: Grid) -> None:
    grid.begin(RetryConfig(on_oom="halve_batch"))
    grid.attempt(RuntimeError("CUDA out of memory"))
    grid.attempt()
    result = grid.folder.result()
    assert result is not None
    assert (result.micro_batches, result.attempt) == (2, 2)


def test_a_run_that_another_launch_took_over_is_left_to_it(grid: Grid) -> None:
    board = ClaimBoard(grid.folder.folder)
    board.take(Claim(launch_id="other", launcher=Process.current()), board.newest())
    task = grid.queue.next()
    assert task is not None
    grid.queue.ended("run-1", KILLED)
    assert (grid.queue.is_over, grid.queue.lost, grid.notes) == (True, {}, [])


def test_a_failure_of_an_earlier_launch_is_not_this_ones(
    grid: Grid, tiny_data: PreparedData
) -> None:
    task = task_for(fake_config(NON_FINITE), tiny_data, Path(grid.task.storage), "run-1")
    execute(replace(task, launch_id="earlier"), WorkerContext(writer="earlier"), FakeTrainer)
    assert grid.queue.next() is not None
    grid.queue.ended("run-1", "WorkerGroupStartupTimeoutError: no room")
    assert grid.notes == ["run-1 is tried again after step 2 (no room)"]


def test_waiting_for_room_is_told_once_and_has_an_end(grid: Grid) -> None:
    grid.begin(RetryConfig(no_room=3))
    for _ in range(4):
        grid.die("WorkerGroupStartupTimeoutError: no room")
    assert grid.queue.is_over
    assert grid.notes == ["run-1 is tried again after step 0 (no room)"]
    last_line = grid.queue.lost["run-1"].splitlines()[-1]
    assert last_line.startswith("without room for its workers within a minute; free some")
    assert "4 times in this launch" in last_line


def test_a_run_that_is_taken_back_without_room_each_minute_ends_where_its_study_says(
    grid: Grid,
) -> None:
    assert grid.queue.next() is not None
    assert not grid.queue.has_bounded_wait("run-1")
    grid.begin(RetryConfig(no_room=2))
    for _ in range(3):
        assert grid.queue.next() is not None
        assert grid.queue.has_bounded_wait("run-1")
        grid.queue.note_no_room("run-1")
        grid.queue.ended("run-1", "")
    assert grid.queue.is_over
    assert grid.queue.lost["run-1"].splitlines() == [
        "no room",
        "without room for its workers within a minute; free some and launch again: 3 times in this "
        "launch (no room)",
    ]


def test_a_node_on_which_runs_die_again_and_again_is_kept_off_by_all(grid: Grid) -> None:
    names = ["run-1", "run-2", "run-3"]
    tasks = [replace(grid.task, run_id=name) for name in names]
    turns = Turns()
    grid.queue = RunQueue(tasks, RetryConfig(node_faults=3), grid.notes.append, turns)
    for name in ("run-1", "run-2", "run-3"):
        folder = RunFolder.of(grid.task.storage, name)
        task = grid.queue.next()
        assert task is not None
        assert (task.run_id, task.avoid) == (name, ())
        folder.write_heartbeat(beat(task, "node-a"))
        grid.queue.ended(name, KILLED)
    assert "node node-a is kept out from here on" in " ".join(grid.notes)
    assert grid.queue.excluded() == {"node-a": 3}
    assert set(turns.reasons(()).values()) == {"resources; node node-a is kept out after 3 faults"}
    again = grid.queue.next()
    assert again is not None
    assert again.avoid == ("node-a",)


@pytest.mark.parametrize(
    ("labelled", "unlabelled", "workers", "can"),
    [(4, 4, 1, True), (2, 4, 1, False), (4, 5, 1, False), (8, 8, 4, False), (8, 8, 2, True)],
)
def test_micro_batches_keep_at_least_two_images(
    grid: Grid, labelled: int, unlabelled: int, workers: int, can: bool
) -> None:
    batch = BatchConfig(labelled=labelled, unlabelled=unlabelled)
    config = tiny_config("rml", batch=batch)
    data = PreparedData.open(Path(grid.task.prepared_folder))
    task = task_for(config, data, Path(grid.task.storage), "run-2", num_workers=workers)
    assert can_halve_batch(task) is can
