"""When a run is hung, and what is said of runs that wait."""

import errno
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import ray
from ray.exceptions import GetTimeoutError

from rml_platform.launch.on_ray import watch as module
from rml_platform.launch.on_ray.nodes import LOOKS_UP_EVERY_S, Places, get_within
from rml_platform.launch.on_ray.watch import (
    BEGINS_WITHIN_S,
    WAITING_AFTER_S,
    Waiting,
    Watch,
    kill,
    what_lacks,
)
from rml_platform.launch.run_queue import RunQueue
from rml_platform.run.reporters import note
from rml_platform.run.run_folder import Heartbeat, RunFolder
from rml_platform.run.storage import Folder
from rml_platform.run.task import Process, RunTask
from rml_platform.study.retry_config import RetryConfig
from rml_trainers.data.prepared.cache import PreparedData
from tests.support.platform.fake_trainer import GOOD
from tests.support.platform.tasks import beat_of, fake_config, task_for

RULES = RetryConfig(hang_factor=10, hang_at_least_s=60)
LOOKS_EVERY_S = 10.0
AN_HOUR_S = 3600.0


@pytest.fixture
def task(tiny_data: PreparedData, tmp_path: Path) -> RunTask:
    return task_for(fake_config(GOOD), tiny_data, tmp_path, "run-1")


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    monkeypatch.setattr(module, "kill", lambda worker, node: found.append((worker.pid, node)))
    return found


class Watched:
    """One run under a watch whose clock goes on when it is told to."""

    def __init__(self, task: RunTask) -> None:
        self.task = task
        self.notes: list[str] = []
        self.queue = RunQueue([task], RULES, self.notes.append)
        self.queue.next()
        self.ended: list[str] = []
        self.has_actor = True
        self.watch = Watch(
            self.queue, self.notes.append, self.ended.append, lambda run_id: self.has_actor
        )
        self.watch._waiting = Waiting(self.notes.append, _free=dict, _is_any_waiting=lambda: False)
        self.now_s = 1000.0
        self.beat = beat_of(
            launch_id=task.launch_id,
            launcher=task.launcher,
            worker=Process(host="host", pid=7, started="1"),
            node="node-a",
        )

    def after(self, passed_s: float, **changes: object) -> None:
        """Its last word, told at the end of a while in which it is looked at."""
        now = replace(self.beat, **changes)  # type: ignore[arg-type]
        self.pass_time(passed_s, now)

    def pass_time(self, passed_s: float, beat: Heartbeat | None = None) -> None:
        while passed_s > LOOKS_EVERY_S:
            self.look_after(LOOKS_EVERY_S, beat and self.beat)
            passed_s -= LOOKS_EVERY_S
        self.look_after(passed_s, beat)

    def look_after(self, passed_s: float, beat: Heartbeat | None) -> None:
        """Only one look, at the end."""
        self.now_s += passed_s
        self.beat = beat or self.beat
        self.watch.judge([self.task], {self.task.run_id: beat}, self.now_s)


def test_a_run_without_a_report_for_long_is_killed_and_told(
    task: RunTask, killed: list[tuple[int, str]]
) -> None:
    run = Watched(task)
    run.after(0)
    run.after(60)
    assert killed == []
    run.after(1)
    assert killed == [(7, "node-a")]
    assert run.notes[0].startswith("run-1 has reported nothing since step 0 for 61 s")
    run.queue.ended("run-1", "ActorDiedError: it died")
    assert run.notes[1] == "run-1 is tried again after step 0 (hang)"


def test_who_waits_for_a_dead_run_is_killed_in_the_end(
    task: RunTask, killed: list[tuple[int, str]]
) -> None:
    run = Watched(task)
    run.after(0)
    run.after(61)
    assert run.ended == []
    run.after(61)
    assert run.ended == ["run-1"]
    assert run.notes[-1].startswith("run-1 does not come back from that")
    run.queue.ended("run-1", "ActorDiedError: it died")
    assert run.notes[-1] == "run-1 is tried again after step 0 (hang)"


def test_patience_follows_the_longest_pause_of_the_run(
    task: RunTask, killed: list[tuple[int, str]]
) -> None:
    run = Watched(task)
    run.after(0)
    for step in (10, 20, 30):
        run.after(30, step=step)
    run.after(300)
    assert killed == []
    run.after(1)
    assert len(killed) == 1


@pytest.mark.parametrize("change", [{"checkpoint_step": 5}, {"miou": 0.5}, {"stage": 1}])
def test_evaluations_checkpoints_and_stages_are_reports_too(
    task: RunTask, killed: list[tuple[int, str]], change: dict[str, object]
) -> None:
    run = Watched(task)
    run.after(0)
    run.after(50, **change)
    run.after(50)
    assert killed == []


def test_a_heartbeat_alone_is_no_report(task: RunTask, killed: list[tuple[int, str]]) -> None:
    run = Watched(task)
    run.after(0)
    for _ in range(5):
        run.after(15, time=run.now_s, seconds=run.now_s)
    assert len(killed) == 1


def test_a_machine_that_stood_still_is_held_against_no_run(
    task: RunTask, killed: list[tuple[int, str]]
) -> None:
    run = Watched(task)
    run.after(0)
    run.after(5, step=1)
    run.look_after(AN_HOUR_S, run.beat)
    run.after(40)
    assert killed == [], "it has had too little time to report"
    run.after(10)
    assert killed == [(7, "node-a")]
    assert "has reported nothing since step 1 for 65 s (longest pause before: 5 s)" in run.notes[0]


def test_the_time_for_which_nobody_looked_makes_no_patience(
    task: RunTask, killed: list[tuple[int, str]]
) -> None:
    run = Watched(task)
    run.after(0)
    run.look_after(AN_HOUR_S, replace(run.beat, step=1000))
    run.after(150)
    assert killed == []
    run.after(1)
    assert len(killed) == 1


def test_a_run_that_cannot_be_read_is_not_judged(
    task: RunTask, killed: list[tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Watched(task)
    RunFolder.of(task.storage, task.run_id).write_heartbeat(run.beat)
    run.watch.look()
    judged: list[list[RunTask]] = []
    monkeypatch.setattr(run.watch, "judge", lambda tasks, beats, now_s: judged.append(tasks))
    with monkeypatch.context() as patch:
        patch.setattr(Folder, "read", away)
        with pytest.raises(OSError, match="Stale"):
            run.watch.look()
    run.watch.look()
    assert judged == [[], [task]]


def test_a_log_that_cannot_be_read_keeps_the_look_from_no_other_run(
    task: RunTask, killed: list[tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Watched(task)
    other = replace(task, run_id="run-2")
    monkeypatch.setattr(Folder, "state_of", away)
    for seconds in range(8):
        beats = {task.run_id: run.beat, other.run_id: None}
        run.watch.judge([other, task], beats, LOOKS_EVERY_S * seconds)
    assert killed == [(7, "node-a")]


def test_a_log_that_may_not_be_read_is_told_at_the_end_of_the_look(
    task: RunTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Watched(task)

    def refuse(folder: Folder, name: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Folder, "state_of", refuse)
    with pytest.raises(PermissionError):
        run.watch.look()
    monkeypatch.undo()
    run.watch.look()


def away(folder: Folder, name: str) -> None:
    raise OSError(errno.ESTALE, "Stale file handle")


def test_a_new_attempt_begins_afresh(task: RunTask, killed: list[tuple[int, str]]) -> None:
    run = Watched(task)
    run.after(0)
    run.after(50)
    run.after(20, attempt=2)
    run.after(50)
    assert killed == []


def test_what_an_attempt_said_last_is_not_held_against_the_next(
    task: RunTask, killed: list[tuple[int, str]]
) -> None:
    run = Watched(task)
    RunFolder.of(task.storage, task.run_id).write_heartbeat(run.beat)
    run.after(0)
    run.after(61)
    run.queue.ended("run-1", "ActorDiedError: it died")
    assert run.queue.next() is not None
    run.has_actor = False
    run.after(61)
    run.after(61)
    assert len(killed) == 1
    assert run.ended == []
    run.after(1, attempt=2)
    run.after(61)
    assert len(killed) == 2


def test_a_run_that_does_not_begin_in_its_actor_is_taken_from_it(
    task: RunTask, killed: list[tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Watched(task)
    run.has_actor = False
    run.pass_time(0)
    run.pass_time(BEGINS_WITHIN_S + 1)
    assert run.ended == [], "it waits for room"
    run.has_actor = True
    run.pass_time(0)
    run.look_after(AN_HOUR_S, None)
    run.pass_time(BEGINS_WITHIN_S - 15)
    assert run.ended == [], "nobody looked in that hour"
    note(RunFolder.of(task.storage, task.run_id), "info", "images: 10 of 90 GB are here")
    with monkeypatch.context() as patch:
        patch.setattr(Folder, "read", lambda folder, name: pytest.fail(f"{name} is read whole"))
        run.pass_time(10)
        assert run.ended == []
        run.pass_time(10 * BEGINS_WITHIN_S + 101)
    assert run.ended == ["run-1"]
    assert run.notes[-1].startswith("run-1 has not begun within 18")
    run.queue.ended("run-1", "ActorDiedError: it died")
    assert run.notes[-1] == "run-1 is tried again after step 0 (hang)"
    assert killed == []


def test_who_waits_for_an_answer_of_ray_looks_up_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[float] = []

    def get(reference: str, timeout: float) -> str:
        asked.append(timeout)
        if len(asked) % 3:
            raise GetTimeoutError
        return reference

    monkeypatch.setattr(ray, "get", get)
    assert get_within("an answer", 180) == "an answer"
    assert asked == [LOOKS_UP_EVERY_S] * 3
    with pytest.raises(GetTimeoutError):
        get_within("an answer", 0)


def test_a_stopped_process_is_ended() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    worker = Process.of(process.pid)
    process.send_signal(signal.SIGSTOP)
    kill(replace(worker, started=str(int(worker.started) - 10_000)), "")  # somebody else's number
    assert process.poll() is None
    kill(worker, "")
    assert process.wait() == -signal.SIGKILL


def test_a_process_that_is_gone_gets_no_signal() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    worker = Process.of(process.pid)
    assert not replace(worker, host="elsewhere").send(signal.SIGKILL)
    assert process.poll() is None
    assert worker.send(signal.SIGKILL)
    process.wait()
    assert not worker.send(signal.SIGKILL)


def test_what_a_run_waits_for_is_said_once(task: RunTask) -> None:
    wide = replace(task, num_workers=2, gpus_per_worker=1)
    notes: list[str] = []
    free = {"CPU": 8.0, "GPU": 1.0}
    groups = ["starting"]
    waiting = Waiting(
        notes.append,
        _free=lambda: {"node-a": free, "node-of-another-zone": {"GPU": 8.0}},
        _places=lambda task: Places(open=frozenset({"node-a"}), kept_out=frozenset()),
        _is_any_waiting=lambda: "waiting" in groups,
    )
    waiting.look([wide], 60)
    waiting.look([wide], 60 + WAITING_AFTER_S)
    assert notes == [], "it has its room, which is why nothing is free"
    waiting.look([], 99)
    groups.append("waiting")
    for seconds in (0, WAITING_AFTER_S - 1, WAITING_AFTER_S, WAITING_AFTER_S + 1):
        waiting.look([wide], 100 + seconds)
    assert notes == ["waiting for 2 × 1 GPU, 1 free (1 runs not begun)"]
    free["GPU"] = 0.0
    waiting.look([wide], 200)
    assert notes[1:] == ["waiting for 2 × 1 GPU, 0 free (1 runs not begun)"]
    waiting.look([], 201)
    waiting.look([wide], 202)
    assert len(notes) == 2


def test_a_run_that_has_room_waits_for_nothing(task: RunTask) -> None:
    wide = replace(task, num_workers=2, gpus_per_worker=1)
    assert what_lacks(wide, [{"CPU": 1.0, "GPU": 1.0}, {"CPU": 1.0, "GPU": 1.0}], 1) == ""
    assert what_lacks(task, [], 3) == "waiting for 1 × 1 CPU, 0 free (3 runs not begun)"


def test_what_is_free_in_pieces_is_no_room(task: RunTask) -> None:
    wide = replace(task, num_workers=2, gpus_per_worker=1)
    halves = [{"CPU": 4.0, "GPU": 0.5}] * 4
    assert what_lacks(wide, halves, 1) == "waiting for 2 × 1 GPU, 2 free (1 runs not begun)"
    packed = replace(wide, placement="one_node")
    apart = [{"CPU": 4.0, "GPU": 1.0}] * 2
    expected = "waiting for 2 × 1 GPU on one node, 1 free (1 runs not begun)"
    assert what_lacks(packed, apart, 1) == expected
    assert what_lacks(packed, [{"CPU": 4.0, "GPU": 2.0}], 1) == ""


def test_a_wait_beside_nodes_that_are_kept_out_names_them(task: RunTask) -> None:
    notes: list[str] = []
    places = [
        Places(open=frozenset({"node-a", "node-b"}), kept_out=frozenset()),
        Places(open=frozenset({"node-a"}), kept_out=frozenset({"node-b"})),
    ]
    waiting = Waiting(
        notes.append,
        excluded=lambda: {"node-b": 3, "node-gone": 4},
        _free=lambda: {"node-a": {}, "node-b": {"CPU": 8.0}},
        _is_any_waiting=lambda: True,
        _places=lambda task: places.pop(),
    )
    waiting.look([task], 60)
    waiting.look([task], 60 + WAITING_AFTER_S)
    assert notes == [
        "waiting for 1 × 1 CPU, 0 free (1 runs not begun); node node-b is kept out after 3 faults"
    ]
    waiting.look([task], 61 + WAITING_AFTER_S)
    assert len(notes) == 1, "it may be on the node now, which has room"
