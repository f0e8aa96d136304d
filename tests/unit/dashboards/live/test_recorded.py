"""Runs without a folder here are shown as the tracker has them; a folder knows better, and a
tracker that is away hides nothing."""

import shutil
import time
from collections.abc import Collection
from pathlib import Path

from rml_dashboards.errors import DashboardError
from rml_dashboards.live.reading.plans import PlanFolder
from rml_dashboards.live.reading.recorded import EVERY_S, RecordedRuns
from rml_dashboards.live.reading.storage import RunStorage
from rml_dashboards.live.reading.watch import Watch
from rml_dashboards.records.reader import Histories
from rml_dashboards.records.recorded_run import RecordedRun
from rml_dashboards.records.records import Records, to_records
from tests.support.dashboards.live_grid import NUM_STEPS, LiveGrid
from tests.support.recorded import recorded


class Tracker:
    """A reader whose runs a test decides."""

    def __init__(self, *runs: RecordedRun) -> None:
        self.runs = list(runs)
        self.is_away = False

    def records(
        self, run_ids: Collection[str] | None = None, metrics: Collection[str] | None = None
    ) -> Records:
        if self.is_away:
            raise DashboardError("the tracker is away")
        return to_records(self.runs)

    def histories(self, run_ids: Collection[str], metrics: Collection[str]) -> Histories:
        raise AssertionError("nobody asks for curves")


def watch_of(out: Path, tracker: Tracker) -> Watch:
    plans = PlanFolder((str(out),))
    return Watch(RunStorage(str(out)), plans, recorded=RecordedRuns(tracker))


def grid_in(folder: Path) -> LiveGrid:
    """Only the first run has a folder; it is done."""
    return LiveGrid.make(folder, state_of=lambda number: "new" if number else "done")


def test_the_tracker_tells_of_runs_that_have_no_folder(tmp_path: Path) -> None:
    grid_in(tmp_path)
    watch = watch_of(
        tmp_path,
        Tracker(
            recorded("grid-0-0-0", status="FAILED", failure="Error: not so"),
            recorded("grid-0-0-1", 0.75, device="cuda:1", host="far"),
            recorded("grid-0-0-2", status="FAILED", failure="CudaError: no memory"),
            recorded("grid-0-1-0", status="KILLED", failure="Cancelled: asked"),
            recorded("grid-0-1-1", status="RUNNING"),
            recorded("of-another-study", 0.5),
        ),
    )
    watch.look()
    status = watch.snapshot.status
    assert status("grid-0-0-0").state == "done", "its folder is here"
    done = status("grid-0-0-1")
    assert (done.state, done.step, done.miou, done.device) == ("done", NUM_STEPS, 0.75, "cuda:1")
    assert done.host == "far"
    assert (status("grid-0-0-2").state, status("grid-0-0-2").reason) == (
        "failed",
        "CudaError: no memory",
    )
    assert status("grid-0-1-0").state == "cancelled"
    assert status("grid-0-1-1").state == "running"
    assert status("grid-0-1-2").state == "new"
    assert "of-another-study" not in watch.snapshot.statuses


def test_news_come_in_time_and_a_tracker_that_is_away_hides_nothing(tmp_path: Path) -> None:
    grid_in(tmp_path)
    tracker = Tracker(recorded("grid-0-0-1", status="RUNNING"))
    watch = watch_of(tmp_path, tracker)
    now = time.time()
    watch.look(now)
    tracker.runs = [recorded("grid-0-0-1", 0.5)]
    assert watch.look(now + EVERY_S / 2) is None, "not asked yet"
    change = watch.look(now + EVERY_S)
    assert change is not None and change.runs == ("grid-0-0-1",)
    tracker.is_away = True
    watch.look(now + 3 * EVERY_S)
    assert watch.snapshot.status("grid-0-0-1").state == "done"
    assert watch.snapshot.status("grid-0-0-0").state == "done"
    assert watch.snapshot.problems == ("the tracker is away",)


def told_by(watch: Watch) -> list[str]:
    return list(watch.snapshot.problems)


def test_a_tracker_that_nobody_needs_may_be_away(tmp_path: Path) -> None:
    """Whether it cannot be read matters as long as a run is wanted of it that is not done."""
    grid = LiveGrid.make(tmp_path, rows=("RML",), columns=("1/8",), num_seeds=2)
    for folder in (tmp_path / "runs").iterdir():
        shutil.rmtree(folder)
    tracker = Tracker(recorded("grid-0-0-0", 0.5), recorded("grid-0-0-1", status="RUNNING"))
    watch = watch_of(tmp_path, tracker)
    now = time.time()
    watch.look(now)
    tracker.is_away = True
    watch.look(now + EVERY_S)
    assert told_by(watch) == ["the tracker is away"]
    grid.put("grid-0-0-1", "running")
    change = watch.look(now + EVERY_S + 1)
    assert told_by(watch) == [], "the other run is known to be done"
    assert change is not None and change.are_plans_new, "the page is told"
    grid.put("grid-0-0-0", "done")
    watch.look(now + EVERY_S + 2)
    assert told_by(watch) == []


def test_a_tracker_that_is_back_is_told_of_no_more(tmp_path: Path) -> None:
    grid_in(tmp_path)
    tracker = Tracker(recorded("grid-0-0-1", status="RUNNING"))
    watch = watch_of(tmp_path, tracker)
    now = time.time()
    tracker.is_away = True
    watch.look(now)
    assert told_by(watch) == ["the tracker is away"]
    tracker.is_away = False
    change = watch.look(now + EVERY_S)
    assert told_by(watch) == []
    assert change is not None and change.are_plans_new
