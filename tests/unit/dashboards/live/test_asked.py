"""What people ask of runs and what launches say of their queues, as the platform writes both: the
page shows it as `rml status` does, at once and for each study by itself."""

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rml_dashboards.contract.launches import wishes_file
from rml_dashboards.live.reading import asked
from rml_dashboards.live.reading.watch import Snapshot
from rml_dashboards.live.views.outlook import outlook
from rml_dashboards.live.views.progress import pace_of
from rml_dashboards.live.views.run_list import Filter, run_page
from rml_dashboards.live.views.study_views import matrix, study_list
from rml_dashboards.live.web.app import Live
from rml_platform.launch.scheduling.queue_state import QUEUE_STATE, QueueState
from rml_platform.launch.scheduling.wishes import (
    Wishes,
    with_cancelled,
    with_priority,
    write_wishes,
)
from rml_platform.run.task import Process
from tests.support.dashboards.live_grid import LiveGrid, all_new
from tests.support.dashboards.live_server import live_of

ROWS = ("Supervised", "IML", "RML")


def begun(number: int) -> Any:
    return {0: "running", 1: "done"}.get(number, "new")


@pytest.fixture
def grid(tmp_path: Path) -> LiveGrid:
    """One run is at work, one is done, the others have not begun."""
    return LiveGrid.make(tmp_path, rows=ROWS, columns=("1/8",), num_seeds=2, state_of=begun)


def tell(
    out: Path, *, waiting: dict[str, str], under_way: tuple[str, ...] = (), age: float = 0.0
) -> None:
    """The queue of a launch, as it writes it."""
    queue = QueueState(
        launch_id="launch-1",
        launcher=Process.current(),
        under_way=under_way,
        waiting=waiting,
        time=time.time() - age,
    )
    (out / "launches").mkdir(exist_ok=True)
    (out / "launches" / "launch-1.queue").write_bytes(QUEUE_STATE.encode(queue))


def look(live: Live) -> Snapshot:
    live.watch.look()
    return live.watch.snapshot


def states(live: Live, name: str = "grid") -> dict[str, tuple[str, str]]:
    snapshot = look(live)
    page = run_page(snapshot.studies[name], snapshot, Filter(), 0, 100)
    return {run["run_id"]: (run["state"], run["reason"]) for run in page["runs"]}


def test_a_cancelled_run_is_shown_at_once_and_is_not_left(grid: LiveGrid) -> None:
    live = live_of(grid.out)
    before = study_list(look(live))["studies"][0]["progress"]
    cancelled = ["grid-1-0-0", "grid-0-0-1", "grid-0-0-0"]  # the others: done, and at work
    write_wishes(str(grid.out), "grid", None, with_cancelled(Wishes(), cancelled))
    change = live.watch.look()
    assert change is not None and "grid-1-0-0" in change.runs
    found = states(live)
    assert found["grid-1-0-0"] == ("cancelled", "")
    assert (found["grid-0-0-0"][0], found["grid-0-0-1"][0]) == ("running", "done")
    after = study_list(look(live))["studies"][0]["progress"]
    assert after["counts"] == {"done": 1, "running": 1, "cancelled": 1, "new": 3}
    assert after["unknown"] == before["unknown"] - 1
    snapshot = look(live)
    rows = matrix(snapshot.studies["grid"], snapshot, 0, 9)["rows"]
    assert rows[1]["cells"][0]["counts"] == {"cancelled": 1, "new": 1}
    write_wishes(str(grid.out), "grid", None, Wishes())
    assert states(live)["grid-1-0-0"] == ("new", "")


def test_what_a_launch_keeps_waiting_has_its_reason(grid: LiveGrid) -> None:
    live = live_of(grid.out)
    tell(grid.out, waiting={"grid-2-0-0": "resources"}, under_way=("grid-1-0-1", "grid-0-0-0"))
    found = states(live)
    assert found["grid-2-0-0"] == ("waiting", "resources")
    assert found["grid-1-0-1"] == ("waiting", "starting")
    assert found["grid-0-0-0"][0] == "running"
    assert found["grid-2-0-1"] == ("new", "")
    write_wishes(str(grid.out), "grid", None, with_cancelled(Wishes(), ["grid-2-0-0"]))
    assert states(live)["grid-2-0-0"][0] == "cancelled"


def test_the_queue_of_a_launch_that_is_gone_says_nothing(grid: LiveGrid) -> None:
    tell(grid.out, waiting={"grid-2-0-0": "resources"}, age=1000)
    assert states(live_of(grid.out))["grid-2-0-0"] == ("new", "")


def test_rows_are_done_in_the_order_that_is_asked_for(grid: LiveGrid) -> None:
    grid.put("grid-1-0-0", "done", method="iml")
    grid.put("grid-2-0-0", "done", method="rml")
    live = live_of(grid.out)

    def last(row: int) -> float:
        snapshot = look(live)
        study = snapshot.studies["grid"]
        found = outlook(study, snapshot.seen_by(study), pace_of(study.plan, snapshot))
        return found.seconds[f"grid-{row}-0-1"]

    assert last(1) < last(2)
    asked = with_priority(Wishes(), "RML", 5, 0)
    write_wishes(str(grid.out), "grid", None, asked)
    assert last(2) < last(1)
    write_wishes(str(grid.out), "grid", None, with_priority(Wishes(), "RML", 5, 3))
    assert last(1) < last(2), "the study's file has said something else since"


def test_a_run_is_cancelled_for_one_study_only(tmp_path: Path) -> None:
    grid = LiveGrid.make(tmp_path, rows=ROWS, columns=("1/8",), num_seeds=1, state_of=all_new)
    plan = json.loads((tmp_path / "studies" / "grid" / "plan.json").read_text())
    other = replace(grid, name="other")
    other.write_plan(runs=plan["runs"])
    write_wishes(str(tmp_path), "other", None, with_cancelled(Wishes(), ["grid-1-0-0"]))
    live = live_of(tmp_path)
    assert states(live, "other")["grid-1-0-0"][0] == "cancelled"
    assert states(live)["grid-1-0-0"][0] == "new"


@pytest.mark.parametrize("content", ["{", "[]", '{"priorities": {"RML": 1}}'])
def test_a_damaged_file_counts_as_absent_and_is_named(grid: LiveGrid, content: str) -> None:
    file = grid.out / "studies" / "grid" / wishes_file(None)
    file.write_text(content)
    live = live_of(grid.out)
    assert states(live)["grid-1-0-0"] == ("new", "")
    (problem,) = look(live).problems
    assert str(file) in problem and "counts as absent" in problem
    assert live.watch.look() is None, "told once"


def test_a_wish_of_the_same_size_and_time_is_shown(grid: LiveGrid) -> None:
    """As where the clock of a store counts in seconds and two commands are given in one."""
    live = live_of(grid.out)
    now_ns = time.time_ns()
    for run_id in ("grid-0-0-0", "grid-0-0-1"):
        write_wishes(str(grid.out), "grid", None, with_cancelled(Wishes(), [run_id]))
        os.utime(grid.out / "studies" / "grid" / "wishes.json", ns=(now_ns, now_ns))
        assert look(live).asked.wishes["grid"].cancelled == {run_id}


def test_a_wish_that_could_not_be_read_is_shown_once_the_storage_is_back(
    grid: LiveGrid, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = live_of(grid.out)
    write_wishes(str(grid.out), "grid", None, with_cancelled(Wishes(), ["grid-1-0-0"]))
    os.utime(grid.out / "studies" / "grid" / "wishes.json", ns=(1, 1))  # long ago: it has settled

    def away(_: object) -> None:
        raise OSError("the storage is away")

    with monkeypatch.context() as changed:
        changed.setattr(asked, "_wishes", away)
        assert "the storage is away" in look(live).problems[0]
    assert states(live)["grid-1-0-0"] == ("cancelled", "")
    assert look(live).problems == ()
