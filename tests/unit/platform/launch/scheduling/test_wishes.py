"""What people ask of a study's runs, as the launch that runs reads it."""

import functools
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from rml_platform.launch.scheduling import wishes
from rml_platform.launch.scheduling.wishes import (
    LiveWishes,
    Wishes,
    change_wishes,
    read_wishes,
    with_cancelled,
    with_priority,
    without_cancelled,
    write_wishes,
)
from rml_platform.planning.plan_file.written_plan import WrittenPlan, write_plan
from rml_platform.study.schema import load_study
from rml_trainers.errors import ConfigError
from tests.support.platform.object_store import s3_endpoint as s3_endpoint
from tests.support.platform.object_store import s3_uri as s3_uri
from tests.support.platform.plans import written
from tests.support.platform.studies import write_study

ROWS = {"Supervised": 0, "RML": 0}


@pytest.fixture
def plan(tmp_path: Path) -> WrittenPlan:
    return written(load_study(write_study(tmp_path)), tmp_path)


class Live:
    """The wishes as a launch sees them, and what it said."""

    def __init__(self, storage: Path) -> None:
        self.notes: list[str] = []
        self._wishes = LiveWishes(str(storage), "tiny", None, ROWS, self.notes.append, every_s=0)

    @property
    def priorities(self) -> dict[str, int]:
        return dict(self._wishes.now().priorities)

    @property
    def cancelled(self) -> frozenset[str]:
        return self._wishes.now().cancelled


def ask(storage: Path, wishes: Wishes) -> None:
    write_wishes(str(storage), "tiny", None, wishes)


def edit(storage: Path, plan: WrittenPlan, row: str, priority: int) -> None:
    """Change a row's priority in the study's file and launch, which writes the plan."""
    rows = (replace(r, priority=priority) if r.label == row else r for r in plan.rows)
    write_plan(replace(plan, rows=tuple(rows)), storage)


def test_nothing_is_asked_at_first(tmp_path: Path) -> None:
    live = Live(tmp_path)
    assert (live.priorities, live.cancelled, live.notes) == (ROWS, frozenset(), [])


def test_a_priority_given_while_the_launch_runs_counts_at_once(
    tmp_path: Path, plan: WrittenPlan
) -> None:
    live = Live(tmp_path)
    assert live.priorities["RML"] == 0
    ask(tmp_path, with_priority(Wishes(), "RML", 5, in_file=0))
    assert live.priorities == {"Supervised": 0, "RML": 5}


def test_the_newer_word_counts_whether_it_stands_in_the_file_or_was_given(
    tmp_path: Path, plan: WrittenPlan
) -> None:
    live = Live(tmp_path)
    edit(tmp_path, plan, "RML", 3)
    assert live.priorities["RML"] == 3
    ask(tmp_path, with_priority(Wishes(), "RML", -1, in_file=3))
    assert live.priorities["RML"] == -1
    edit(tmp_path, plan, "RML", 4)
    assert live.priorities == {"Supervised": 0, "RML": 4}


def test_cancelled_runs_can_be_taken_back(tmp_path: Path) -> None:
    live = Live(tmp_path)
    asked = with_cancelled(with_cancelled(Wishes(), ["a", "b"]), ["b", "c"])
    ask(tmp_path, asked)
    assert live.cancelled == {"a", "b", "c"}
    ask(tmp_path, without_cancelled(asked, ["a", "z"]))
    assert live.cancelled == {"b", "c"}
    assert read_wishes(str(tmp_path), "tiny", None).cancelled == ("b", "c")
    assert read_wishes(str(tmp_path), "tiny", "small") == Wishes(), "a profile has its own"


def test_a_damaged_file_is_told_once_and_what_was_asked_before_counts(tmp_path: Path) -> None:
    live = Live(tmp_path)
    ask(tmp_path, with_cancelled(Wishes(), ["a"]))
    assert live.cancelled == {"a"}
    file = tmp_path / "studies" / "tiny" / "wishes.json"
    file.write_text("{")
    assert live.cancelled == {"a"}
    assert live.cancelled == {"a"}
    assert ["wishes.json is damaged" in note for note in live.notes] == [True]
    with pytest.raises(ConfigError, match=r"wishes\.json is damaged: .* Delete it"):
        read_wishes(str(tmp_path), "tiny", None)


def test_no_wish_is_lost_where_many_ask_at_once(tmp_path: Path) -> None:
    runs = [f"r{number}" for number in range(40)]

    def cancel(run: str) -> None:
        change_wishes(str(tmp_path), "tiny", None, lambda known: with_cancelled(known, [run]))

    with ThreadPoolExecutor(8) as people:
        list(people.map(cancel, runs))
    assert sorted(read_wishes(str(tmp_path), "tiny", None).cancelled) == sorted(runs)


def test_what_is_asked_again_changes_nothing(tmp_path: Path) -> None:
    change = functools.partial(change_wishes, str(tmp_path), "tiny", None)
    assert change(lambda known: with_cancelled(known, ["a"])) == Wishes()
    before = change(lambda known: with_cancelled(known, ["a"]))
    assert before == read_wishes(str(tmp_path), "tiny", None) == Wishes(cancelled=("a",))


def test_on_object_storage_a_wish_that_another_wrote_over_is_asked_again(s3_uri: str) -> None:
    """Both had read before either wrote."""
    others = [with_priority(Wishes(), "RML", 5, 0)]

    def meanwhile() -> None:
        if others:
            write_wishes(s3_uri, "tiny", None, others.pop())

    change_wishes(s3_uri, "tiny", None, lambda known: with_cancelled(known, ["a"]), meanwhile)
    found = read_wishes(s3_uri, "tiny", None)
    assert (found.cancelled, found.priority_of("RML", 0)) == (("a",), 5)


def test_on_object_storage_two_who_want_the_contrary_are_told(s3_uri: str) -> None:
    def meanwhile() -> None:
        write_wishes(s3_uri, "tiny", None, Wishes())

    with pytest.raises(ConfigError, match=r"studies/tiny/wishes\.json: somebody else asks .*again"):
        change_wishes(s3_uri, "tiny", None, lambda known: with_cancelled(known, ["a"]), meanwhile)


def test_a_wish_of_the_same_size_and_time_counts(tmp_path: Path, plan: WrittenPlan) -> None:
    """As where the clock of a store counts in seconds and two commands are given in one."""
    file = tmp_path / "studies" / "tiny" / "wishes.json"
    live = Live(tmp_path)
    now_ns = time.time_ns()
    for priority in (5, 7):
        ask(tmp_path, with_priority(Wishes(), "RML", priority, in_file=0))
        os.utime(file, ns=(now_ns, now_ns))
        assert live.priorities["RML"] == priority


def test_a_wish_that_could_not_be_read_counts_once_the_storage_is_back(
    tmp_path: Path, plan: WrittenPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = Live(tmp_path)
    assert live.priorities["RML"] == 0
    ask(tmp_path, with_priority(Wishes(), "RML", 5, in_file=0))
    edit(tmp_path, plan, "Supervised", 3)
    for name in ("wishes.json", "plan.json"):
        os.utime(tmp_path / "studies" / "tiny" / name, ns=(1, 1))  # a change long ago: it settled

    def away(*_: object) -> None:
        raise OSError("the storage is away")

    with monkeypatch.context() as changed:
        changed.setattr(wishes, "read_wishes", away)
        changed.setattr(wishes, "read_plan", away)
        assert live.priorities == ROWS
    assert live.priorities == {"Supervised": 3, "RML": 5}


def test_a_damaged_plan_hides_no_wish(tmp_path: Path, plan: WrittenPlan) -> None:
    live = Live(tmp_path)
    (tmp_path / "studies" / "tiny" / "plan.json").write_text("{")
    ask(tmp_path, with_cancelled(Wishes(), ["a"]))
    assert [live.cancelled for _ in range(2)] == [{"a"}, {"a"}]
    assert ["plan.json is damaged" in note for note in live.notes] == [True]
