"""A run without a folder here has the curves that the tracker knows: read once, and no more than a
screen shows."""

from collections.abc import Collection
from pathlib import Path

from rml_dashboards.errors import DashboardError
from rml_dashboards.live.reading.recorded import EVERY_S
from rml_dashboards.live.reading.recorded_curves import MOST_KEPT, MOST_POINTS, RecordedCurves
from rml_dashboards.live.web.serving import Shown, open_live
from rml_dashboards.records.reader import Histories, to_histories
from rml_dashboards.records.records import Records, to_records
from tests.support.dashboards.live_grid import LiveGrid
from tests.support.dashboards.live_server import client_of
from tests.support.recorded import Store


class Tracker:
    """A reader that counts who asks for curves."""

    def __init__(self, num_points: int = 3) -> None:
        self.num_points = num_points
        self.asked: list[tuple[str, ...]] = []
        self.is_away = False

    def records(
        self, run_ids: Collection[str] | None = None, metrics: Collection[str] | None = None
    ) -> Records:
        return to_records([])

    def histories(self, run_ids: Collection[str], metrics: Collection[str]) -> Histories:
        if self.is_away:
            raise DashboardError("the tracker is away")
        self.asked.append(tuple(run_ids))
        points = [
            (run, metric, step, step, 1.0 / (1 + step))
            for run in run_ids
            for metric in metrics
            for step in range(self.num_points)
        ]
        return to_histories(points, {run: frozenset(metrics) for run in run_ids})


def test_what_has_ended_is_read_once_and_what_runs_again_after_a_while() -> None:
    tracker = Tracker()
    now = [0.0]
    curves = RecordedCurves(tracker, lambda: now[0])
    for has_ended, at, times in ((False, 0, 1), (False, 1, 1), (False, EVERY_S, 2), (True, 999, 2)):
        now[0] = at
        found, problem = curves.read("a", ["loss"], has_ended=has_ended)
        assert found is not None and len(found.values) == 3 and not problem
        assert len(tracker.asked) == times
    tracker.is_away = True
    found, problem = curves.read("a", ["loss"], has_ended=False)
    assert found is not None and problem == "the tracker is away"
    assert curves.read("b", ["loss"], has_ended=True) == (None, "the tracker is away")


def test_neither_points_nor_answers_pile_up() -> None:
    tracker = Tracker(num_points=3 * MOST_POINTS)
    curves = RecordedCurves(tracker)
    found, _ = curves.read("a", ["loss", "miou"], has_ended=True)
    assert found is not None
    counts = found.values.groupby("metric")["step"].agg(["count", "min", "max"])
    assert (counts["count"] <= MOST_POINTS).all()
    assert counts[["min", "max"]].to_numpy().tolist() == 2 * [[0, 3 * MOST_POINTS - 1]]
    tracker.num_points = 1
    for number in range(MOST_KEPT):
        curves.read(f"run{number}", ["loss"], has_ended=True)
    curves.read("a", ["loss", "miou"], has_ended=True)
    assert tracker.asked.count(("a",)) == 2, "forgotten for newer ones"


def test_the_page_of_a_run_without_a_folder_has_its_curves(tmp_path: Path, store: Store) -> None:
    LiveGrid.make(tmp_path, state_of=lambda number: "new" if number else "done")
    run = store.add("grid-0-0-1", 0.5, study="grid")
    store.report(run, "train/loss", {step: 1 / (1 + step) for step in range(5)})
    live = open_live(Shown(out=tmp_path, storage=str(tmp_path), tracking_uri=store.uri))
    client = client_of(live)
    wanted = {"id": "grid-0-0-1", "metric": ["train/loss", "val/miou"]}
    told = client.get("/api/curves", params=wanted).json()
    assert "train/loss" in told["metrics"] and told["problem"] == ""
    points = told["curves"]["train/loss"]["points"]
    assert points == [*([float(step), 1 / (1 + step)] for step in range(5)), [10.0, 1.0]]
    store.file.unlink()
    assert client.get("/api/curves", params=wanted).json() == told, "kept"
    other = client.get("/api/curves", params={**wanted, "id": "grid-0-0-2"}).json()
    assert not other["curves"] and store.file.name in other["problem"]
