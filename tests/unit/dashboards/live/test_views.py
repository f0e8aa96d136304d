"""What the page shows of a snapshot: progress, cells, filters, tables, curves, comparisons."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rml_dashboards.contract.states import RunState
from rml_dashboards.live.reading.run_status import RunStatus
from rml_dashboards.live.reading.watch import Snapshot
from rml_dashboards.live.views.comparison import compared
from rml_dashboards.live.views.curves import curves, thinned
from rml_dashboards.live.views.progress import STATES
from rml_dashboards.live.views.run_list import Filter, run_page, suggestions
from rml_dashboards.live.views.study_views import matrix, study_head, study_list
from rml_dashboards.live.web.app import Live
from tests.support.dashboards.live_grid import NUM_STEPS, LiveGrid, heartbeat, one_of_each, result
from tests.support.dashboards.live_server import live_of

RUN = "grid-0-0-2"


@pytest.fixture
def grid(tmp_path: Path) -> LiveGrid:
    return LiveGrid.make(tmp_path)


def look(live: Live) -> Snapshot:
    live.watch.look()
    return live.watch.snapshot


def ids(page: dict[str, Any]) -> list[str]:
    return [run["run_id"] for run in page["runs"]]


def test_progress_counts_steps_and_states(grid: LiveGrid) -> None:
    (summary,) = study_list(look(live_of(grid.out)))["studies"]
    progress = summary["progress"]
    assert progress["counts"] == {
        "done": 6,
        "running": 3,
        "failed": 3,
        "cancelled": 2,
        "cut_off": 2,
        "new": 2,
    }
    assert list(progress["counts"]) == [state for state in STATES if state != "waiting"]
    begun = [100 + n for n in range(18) if one_of_each(n) not in ("done", "new")]
    assert progress["fraction"] == pytest.approx((6 * NUM_STEPS + sum(begun)) / (18 * NUM_STEPS))
    assert summary["num_cells"] == 18


def progress_by_row(live: Live) -> list[dict[str, Any]]:
    snapshot = look(live)
    shown = matrix(snapshot.studies["grid"], snapshot, 0, 10)
    return [row["progress"] for row in shown["rows"]]


def test_time_left_is_reckoned_from_the_study_s_own_pace(tmp_path: Path) -> None:
    """Half a second per step: 900 steps of a run at work, 1000 of each of two that wait."""
    states: tuple[RunState, ...] = ("done", "running", "new", "new")
    grid = LiveGrid.make(
        tmp_path, rows=("a", "b"), columns=("c",), num_seeds=2, state_of=lambda n: states[n]
    )
    grid.write("grid-0-0-1", "heartbeat.json", heartbeat(100))
    live = live_of(grid.out)
    first, second = progress_by_row(live)
    assert (first["left_seconds"], first["eta_seconds"]) == (450, 450)
    assert second["unknown"] == 2, "no run of its method has trained"
    assert second["eta_seconds"] is None
    grid.put("grid-1-0-0", "done")
    first, second = progress_by_row(live)
    assert (second["left_seconds"], second["eta_seconds"]) == (500, 950), "after the one at work"
    grid.put("grid-0-0-1", "failed")
    _, second = progress_by_row(live)
    assert second["eta_seconds"] is None, "nothing is at work"


@pytest.mark.parametrize(
    "status, expected",
    [
        ({}, None),
        ({"step": 10, "seconds": 20.0}, 2.0),
        ({"step": 10, "seconds": 20.0, "start_up_s": 15.0, "start_up_steps": 5}, 1.0),
        ({"step": 5, "seconds": 15.0, "start_up_s": 15.0, "start_up_steps": 5}, None),
        ({"step": 60, "seconds": 20.0, "first_step": 50}, 2.0),
        ({"step": 10, "seconds": 20.0, "start_up_s": 15.0, "state": "done"}, 2.0),
        ({"step": 10, "seconds": 90.0, "elsewhere_s": 85.0, "elsewhere_steps": 5}, 1.0),
    ],
)
def test_a_start_is_no_part_of_a_pace(status: dict[str, Any], expected: float | None) -> None:
    assert RunStatus(**{"state": "running", **status}).seconds_of_a_step == expected


@pytest.mark.parametrize(("priority", "expected"), [({}, (950, 1450)), ({"b": 1}, (1450, 950))])
def test_rows_end_in_the_order_of_a_launch(
    priority: dict[str, int], expected: tuple[int, int], tmp_path: Path
) -> None:
    """The first seed of every row comes before the second of any; a row of higher priority comes
    before all others."""
    states: tuple[RunState, ...] = ("running", "new", "done", "new")
    grid = LiveGrid.make(
        tmp_path, rows=("a", "b"), columns=("c",), num_seeds=2, state_of=lambda n: states[n]
    )
    rows = [{"label": row, "columns": ["c"], "priority": priority.get(row, 0)} for row in "ab"]
    grid.write_plan(rows=rows)
    grid.write("grid-0-0-0", "heartbeat.json", heartbeat(100))
    first, second = progress_by_row(live_of(grid.out))
    assert (first["eta_seconds"], second["eta_seconds"]) == expected


def test_stages_that_runs_share_are_counted_once(grid: LiveGrid) -> None:
    plan = json.loads((grid.out / "studies" / "grid" / "plan.json").read_text())
    for run in plan["runs"]:
        run["method"] = "rml"
        run["stages"] = [
            {"last_step": 400, "hash": "warm"},
            {"last_step": NUM_STEPS, "hash": run["run_id"]},
        ]
    grid.write_plan(runs=plan["runs"])
    (summary,) = study_list(look(live_of(grid.out)))["studies"]
    left = [NUM_STEPS - max(100 + n, 400 if n else 0) for n in range(18) if _is_left(n)]
    assert summary["progress"]["left_seconds"] == pytest.approx(0.5 * sum(left))


def _is_left(number: int) -> bool:
    return one_of_each(number) in ("running", "cut_off", "new")


def test_the_matrix_has_the_states_of_every_cell(grid: LiveGrid) -> None:
    grid.write_plan(
        rows=[
            {"label": "Supervised", "columns": ["1/8", "1/4"]},
            {"label": "IML", "columns": ["1/8"]},
            {"label": "quoted", "columns": []},
        ],
        runs=[grid._run(*cell) for cell in grid.cells() if cell[:2] in ((0, 0), (0, 1), (1, 0))],
    )
    live = live_of(grid.out)
    snapshot = look(live)
    shown = matrix(snapshot.studies["grid"], snapshot, 0, 10)
    assert [row["label"] for row in shown["rows"]] == ["Supervised", "IML"]
    assert shown["rows"][0]["cells"][0]["counts"] == {"done": 2, "running": 1}
    assert shown["rows"][1]["cells"][1] is None
    assert matrix(snapshot.studies["grid"], snapshot, 1, 1)["rows"][0]["label"] == "IML"


@pytest.mark.parametrize(
    ("wanted", "num"),
    [
        (Filter(), 18),
        (Filter(row="IML"), 6),
        (Filter(row="IML", column="1/4"), 3),
        (Filter(state="failed"), 3),
        (Filter(state="failed", row="RML"), 1),
        (Filter(tag="method=rml"), 6),
        (Filter(tag="method.name=iml"), 6),
        (Filter(tag="seed=1"), 6),
        (Filter(tag="method=rm"), 0),
        (Filter(text="grid-1-0"), 3),
        (Filter(text="SUPERVISED seed=2"), 2),
        (Filter(text="out of memory cudaerror"), 3),
        (Filter(text="machine-1"), 16),
        (Filter(text="no such thing"), 0),
    ],
)
def test_runs_pass_filters(wanted: Filter, num: int, grid: LiveGrid) -> None:
    snapshot = look(live_of(grid.out))
    page = run_page(snapshot.studies["grid"], snapshot, wanted, 0, 200)
    assert (page["total"], len(page["runs"])) == (num, num)


def test_a_list_is_sent_by_pages(grid: LiveGrid) -> None:
    snapshot = look(live_of(grid.out))
    study = snapshot.studies["grid"]
    pages = [run_page(study, snapshot, Filter(), offset, 7) for offset in (0, 7, 14)]
    assert [run for page in pages for run in ids(page)] == [run_id for *_, run_id in grid.cells()]
    assert suggestions(snapshot, "GRID-2") == [
        run_id
        for row, *_, run_id in grid.cells()
        if row == 2 and (grid.out / "runs" / run_id).is_dir()
    ]


def test_tags_are_what_tells_runs_apart(grid: LiveGrid) -> None:
    snapshot = look(live_of(grid.out))
    tags = {
        tag["name"]: tag["values"] for tag in study_head(snapshot.studies["grid"], snapshot)["tags"]
    }
    assert tags["method"] == ["supervised", "iml", "rml"]
    assert tags["labelled"] == ["12", "24"]
    assert "data" not in tags


def test_the_table_is_that_of_rml_tables_and_follows_the_runs(grid: LiveGrid) -> None:
    live = live_of(grid.out)
    snapshot = look(live)
    study = snapshot.studies["grid"]
    page = live.tables.page(study, snapshot, 0, 100)
    assert page["header"] == ("Method", "1/8", "1/4")
    assert page["lines"][0][1] == ["partial", "40.5 ± 0.7 (2 of 3) [1]"]
    assert live.tables.page(study, snapshot, 0, 100) == page
    grid.write(RUN, "result.json", result(0.45))
    page = live.tables.page(study, look(live), 0, 100)
    assert page["lines"][0][1][1] == "42.0 ± 2.6 (3)"
    assert live.tables.page(study, look(live), 1, 1)["lines"] == page["lines"][1:2]


def test_a_table_that_cannot_be_filled_says_why(grid: LiveGrid) -> None:
    grid.write_plan(rows=[{"label": "other", "columns": ["1/8"]}])
    live = live_of(grid.out)
    snapshot = look(live)
    page = live.tables.page(snapshot.studies["grid"], snapshot, 0, 10)
    assert "has no place in the table" in page["problem"]


def test_thinned_curves_keep_their_ends_and_their_peaks() -> None:
    steps = np.arange(10_000, dtype=np.float64)
    values = np.sin(steps / 300)
    values[[4321, 7777]] = (9.0, -9.0)
    points = thinned(steps, values, 400)
    assert len(points) <= 402
    assert [points[0][0], points[-1][0]] == [0, 9999]
    assert {(4321.0, 9.0), (7777.0, -9.0)} <= set(points)
    assert points == sorted(points)
    assert thinned(steps[:5], values[:5], 400) == [(s, values[int(s)]) for s in range(5)]
    assert thinned(steps[:0], values[:0], 400) == []


def test_a_running_run_s_curve_goes_on_with_what_it_said_since(grid: LiveGrid) -> None:
    rows = [["train/loss", 50, 1, 2.0], ["train/loss", 100, 2, 1.5], ["val/miou", 100, 2, 0.25]]
    grid.write(RUN, "metrics/000000102.json", rows)
    live = live_of(grid.out)
    look(live)
    for step, miou in ((150, 0.25), (200, 0.4)):
        beat = heartbeat(step, loss=1 / step, miou=miou, checkpoint_step=102)
        grid.write(RUN, "heartbeat.json", beat)
        look(live)
    metrics = ["train/loss", "val/miou"]
    histories = live.reader.histories([RUN], metrics)
    shown = curves(histories, RUN, metrics, live.watch.trail(RUN), 100)
    assert shown["curves"]["train/loss"]["points"] == [(50.0, 2.0), (100.0, 1.5)]
    live_part = shown["curves"]["train/loss"]["live"]
    assert live_part[-2:] == [(150.0, 1 / 150), (200.0, 1 / 200)]
    assert shown["curves"]["val/miou"]["live"][-1] == (200.0, 0.4)
    assert shown["metrics"] == ["train/loss", "val/miou"]


def test_two_runs_beside_each_other(grid: LiveGrid) -> None:
    for seed, run_id in enumerate(("grid-0-0-0", "grid-2-0-2")):
        grid.beside(run_id, seed)
    live = live_of(grid.out)
    told = compared(live.storage, look(live), "grid-0-0-0", "grid-2-0-2")
    assert told["differing"] == [("seed", "0", "14"), ("method.name", "supervised", "rml")]
    assert ("miou", 0.4, 0.54) in told["scores"]
    assert [name for name, *_ in told["iou"]] == ["road", "building", "sky, clouds", "car (parked)"]
    assert told["pictures"] == ["val_00000.png", "val_00001.png"]
    assert told["is_same_data"]
    begun = compared(live.storage, look(live), "grid-0-0-0", "grid-1-0-0")
    assert all(second is None for _, _, second in begun["differing"])
    assert begun["is_same_data"], "nothing is known of a run that has not begun"
