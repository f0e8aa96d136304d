"""In which order runs are started."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from rml_platform.launch.scheduling import turns as module
from rml_platform.launch.scheduling.turns import Judge, Place, Places, Turns, places_of
from rml_platform.launch.scheduling.wishes import (
    LiveWishes,
    StudyWishes,
    Wishes,
    with_cancelled,
    with_priority,
    write_wishes,
)
from rml_platform.planning.plan import make_plan
from rml_platform.run.checkpoints import MANIFEST
from rml_platform.run.shared_stages import FOLDER, mark_shared
from rml_platform.run.task import RunTask
from rml_platform.study.schema import load_study
from rml_trainers.config import ScheduleConfig
from rml_trainers.data.prepared.cache import PreparedData
from tests.support.platform.fake_trainer import GOOD
from tests.support.platform.studies import write_study
from tests.support.platform.tasks import fake_config, task_for
from tests.support.tiny import tiny_config


@pytest.fixture
def task(tiny_data: PreparedData, tmp_path: Path) -> RunTask:
    return task_for(fake_config(GOOD), tiny_data, tmp_path, "run")


def grid(*studies: tuple[str, str]) -> dict[str, Places]:
    """Places of runs `<row><seed>`, two seeds of each of a study's rows (letters), in the order of
    the tables."""
    ids = [(name, row, seed) for name, rows in studies for row in rows for seed in (0, 1)]
    return {
        f"{row}{seed}": (Place(name, (row,), seed, index),)
        for index, (name, row, seed) in enumerate(ids)
    }


def add_all(turns: Turns, task: RunTask, places: Mapping[str, Places]) -> Turns:
    for run_id in places:
        turns.add(replace(task, run_id=run_id))
    return turns


def rest(turns: Turns) -> Iterator[str]:
    """Ids of what is started, one after the other."""
    while (task := turns.next(())) is not None:
        yield task.run_id


def live(folder: Path) -> dict[str, LiveWishes]:
    rows = dict.fromkeys("ABC", 0)
    return {"s": LiveWishes(str(folder), "s", None, rows, pytest.fail, every_s=0)}


def test_the_first_seed_of_every_row_comes_before_the_second_of_any(task: RunTask) -> None:
    places = grid(("s", "ABC"))
    assert list(rest(add_all(Turns(places), task, places))) == ["A0", "B0", "C0", "A1", "B1", "C1"]


def test_without_places_the_order_is_that_of_the_tasks(task: RunTask) -> None:
    places = grid(("s", "ABC"))
    assert list(rest(add_all(Turns(), task, places))) == list(places)


def test_what_failed_comes_after_what_was_not_tried(task: RunTask) -> None:
    places = grid(("s", "AB"))
    turns = add_all(Turns(places), task, places)
    first = turns.next(())
    assert first is not None
    turns.add(first, tries=1)
    assert list(rest(turns)) == ["B0", "A1", "B1", "A0"]


def test_a_run_that_is_put_back_keeps_its_turn_and_counts_once_as_started(task: RunTask) -> None:
    places = grid(("large", "ABC"), ("small", "X"))
    turns = add_all(Turns(places), task, places)
    for _ in range(3):
        first = turns.next(())
        assert first is not None and first.run_id == "A0"
        turns.add(first)
    assert list(rest(turns)) == ["A0", "X0", "B0", "X1", "C0", "A1", "B1", "C1"]


def test_without_room_runs_of_another_size_come_first_and_the_order_stays(task: RunTask) -> None:
    places = grid(("large", "AB"), ("small", "XY"))
    large = replace(task, num_workers=4)
    turns = Turns(places)
    for run_id, (place,) in places.items():
        turns.add(replace(large if place.study == "large" else task, run_id=run_id))

    def without_room() -> str:
        tried = turns.next(())
        assert tried is not None
        turns.note_room(tried, is_there=False)
        turns.add(tried)
        return tried.run_id

    assert [without_room() for _ in range(5)] == ["A0", "X0", "A0", "X0", "A0"]
    turns.note_room(task, is_there=True)
    assert list(rest(turns)) == ["X0", "Y0", "X1", "Y1", "A0", "B0", "A1", "B1"]


def test_studies_take_turns(task: RunTask) -> None:
    places = grid(("large", "ABC"), ("small", "X"))
    order = list(rest(add_all(Turns(places), task, places)))
    assert order == ["A0", "X0", "B0", "X1", "C0", "A1", "B1", "C1"]


def test_a_run_of_two_studies_counts_for_both(task: RunTask) -> None:
    places = grid(("one", "AB"), ("two", "X"))
    places["A0"] = (*places["A0"], Place("two", ("Y",), 0, 9))
    assert list(rest(add_all(Turns(places), task, places)))[:3] == ["A0", "B0", "X0"]


def test_a_priority_given_on_the_way_decides_what_is_started_next(
    task: RunTask, tmp_path: Path
) -> None:
    places = grid(("s", "ABC"))
    turns = add_all(Turns(places, live(tmp_path)), task, places)
    assert next(rest(turns)) == "A0"
    write_wishes(str(tmp_path), "s", None, with_priority(Wishes(), "C", 1, in_file=0))
    assert next(rest(turns)) == "C0"
    lower = with_priority(Wishes(), "B", -1, in_file=0)
    write_wishes(str(tmp_path), "s", None, lower)
    assert list(rest(turns)) == ["A1", "C1", "B0", "B1"]


def test_a_cancelled_run_is_not_started_until_it_is_taken_back(
    task: RunTask, tmp_path: Path
) -> None:
    places = grid(("s", "AB"))
    turns = add_all(Turns(places, live(tmp_path)), task, places)
    write_wishes(str(tmp_path), "s", None, with_cancelled(Wishes(), ["A0", "B1"]))
    assert list(rest(turns)) == ["B0", "A1"]
    assert turns.reasons(()) == {"A0": "cancelled", "B1": "cancelled"}
    write_wishes(str(tmp_path), "s", None, Wishes())
    assert list(rest(turns)) == ["A0", "B1"]


def test_whether_any_could_start_takes_none_of_them_out(task: RunTask, tmp_path: Path) -> None:
    places = grid(("s", "A"))
    turns = Turns(places, live(tmp_path), lambda under_way, started: lambda one, without=(): why)
    tasks = [replace(task, run_id=run_id) for run_id in places]
    why = ""
    assert turns.may_any_start(tasks)
    write_wishes(str(tmp_path), "s", None, with_cancelled(Wishes(), ["A0"]))
    assert turns.may_any_start(tasks)
    assert not turns.may_any_start(tasks[:1])
    assert not turns.may_any_start([])
    why = "no money"
    assert not turns.may_any_start(tasks)
    assert len(turns) == 0


def test_whether_any_could_start_is_judged_by_one_look(
    task: RunTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[str] = []

    def gate(under_way: Sequence[RunTask], started: RunTask | None) -> Judge:
        looks.append("gate")
        return lambda task, without=(): "no money"

    wishes = live(tmp_path)
    now = wishes["s"].now

    def counted() -> StudyWishes:
        looks.append("wishes")
        return now()

    monkeypatch.setattr(wishes["s"], "now", counted)
    places = grid(("s", "ABC"))
    turns = Turns(places, wishes, gate)
    assert not turns.may_any_start([replace(task, run_id=run_id) for run_id in places])
    assert looks == ["wishes", "gate"]


def test_a_gate_has_the_last_word(task: RunTask) -> None:
    places = grid(("s", "AB"))
    closed = Turns(
        places,
        gate=lambda under_way, started: (
            lambda task, without=(): "no" if task.run_id == "A0" else ""
        ),
    )
    assert list(rest(add_all(closed, task, places))) == ["B0", "A1", "B1"]
    assert closed.reasons(()) == {"A0": "no"}


def test_a_run_waits_while_another_trains_its_beginning_and_the_next_one_starts(
    tiny_data: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.0)
    names = [("iml", 0), ("rml", 0), ("iml", 1), ("rml", 1)]
    tasks = mark_shared(
        [
            task_for(tiny_config(name, seed=seed), tiny_data, tmp_path, f"{name}{seed}")
            for name, seed in names
        ]
    )
    turns = Turns({f"{n}{s}": (Place("s", (n,), s, i),) for i, (n, s) in enumerate(names)})
    for one in tasks:
        turns.add(one)
    first = turns.next(())
    assert first is not None and first.run_id == "iml0"
    second = turns.next([first])
    assert second is not None and second.run_id == "iml1", "it shares nothing with the first"
    assert turns.next([first, second]) is None
    assert turns.reasons([first, second]) == {
        "rml0": "iml0 is training its beginning",
        "rml1": "iml1 is training its beginning",
    }
    (common,) = set(first.shared_stages)
    left = tmp_path / FOLDER / common
    left.mkdir(parents=True)
    (left / MANIFEST).touch()
    third = turns.next([first, second])
    assert third is not None and third.run_id == "rml0"
    last = turns.next([first, third])
    assert last is not None and last.run_id == "rml1", "nobody trains its beginning any more"


def test_a_run_does_not_wait_for_its_own_end(
    tiny_data: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has nothing left to train where it would take that over, but still has to be scored."""
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.0)
    one_stage = ScheduleConfig(warm_up_steps=4, stage_steps=(4,))
    long = task_for(tiny_config("iml"), tiny_data, tmp_path, "long")
    short = task_for(tiny_config("iml", schedule=one_stage), tiny_data, tmp_path, "short")
    turns = Turns()
    for task in mark_shared([long, short]):
        turns.add(task)
    first = turns.next(())
    assert first is not None and first.run_id == "long"
    warm_up, end_of_short = first.shared_stages
    assert turns.next([first]) is None
    left = tmp_path / FOLDER / warm_up
    left.mkdir(parents=True)
    (left / MANIFEST).touch()
    second = turns.next([first])
    assert second is not None and end_of_short in second.shared_stages


def test_places_of_a_plan(tmp_path: Path) -> None:
    plan = make_plan(load_study(write_study(tmp_path)), data_root=None, cache_root=tmp_path / "c")
    places = places_of([plan])
    found = [(place.rows, place.seed, place.index) for (place,) in places.values()]
    rows = [("Supervised",)] * 4 + [("RML",)] * 4
    assert found == [(row, i % 2, i) for i, row in enumerate(rows)]
