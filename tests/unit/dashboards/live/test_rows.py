"""Rows of a study beside each other: the numbers are those of tables, figures and statistics."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from starlette.testclient import TestClient

from rml_dashboards.live.views.rows import DRAWN_FIRST, domain
from rml_dashboards.statistics.paired import paired_differences
from rml_dashboards.studies import beside
from tests.support.dashboards.live_grid import LiveGrid, result
from tests.support.dashboards.live_server import client_of, live_of
from tests.support.platform.hostile_names import HOSTILE_NAMES

SEEDS = 6
SCORES = np.random.default_rng(0).normal(0.5, 0.02, (2, SEEDS))


@pytest.fixture
def grid(tmp_path: Path) -> LiveGrid:
    """Two rows, one column, all runs done, two of them with curves and pictures."""
    grid = LiveGrid.make(
        tmp_path,
        rows=("Supervised", "IML"),
        columns=("1/8",),
        num_seeds=SEEDS,
        state_of=lambda number: "done",
    )
    for row, _, seed, run_id in grid.cells():
        grid.write(run_id, "result.json", result(SCORES[row, seed]))
        if seed < 2:
            grid.beside(run_id, seed)
    return grid


@pytest.fixture
def client(grid: LiveGrid) -> TestClient:
    return client_of(live_of(grid.out))


def asked(client: TestClient, path: str, **parameters: Any) -> dict[str, Any]:
    answer = client.get(f"/api/rows{path}", params={"key": "grid", "column": "1/8", **parameters})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_scores_are_those_of_the_table(client: TestClient) -> None:
    told = asked(client, "")
    assert (told["measure"], told["key"]) == ("mIoU (%)", "final/miou")
    assert (told["against"], told["total"]) == ("Supervised", 2)
    first = told["rows"][0]
    assert [run["value"] for run in first["runs"]] == pytest.approx(100 * SCORES[0])
    assert first["mean"] == pytest.approx(100 * SCORES[0].mean())
    assert first["std"] == pytest.approx(100 * SCORES[0].std(ddof=1))
    assert told["domain"] == pytest.approx([100 * SCORES.min(), 100 * SCORES.max()])
    assert asked(client, "", offset=1)["rows"][0]["label"] == "IML"


def test_the_legend_of_the_table_names_the_measure_in_words_and_by_its_key(
    client: TestClient,
) -> None:
    legend = client.get("/api/table", params={"key": "grid"}).json()["legend"]
    assert legend.startswith("mIoU (%), recorded as `final/miou`: mean ± sample standard deviation")


@pytest.mark.parametrize("against", [0, 1])
def test_differences_are_those_of_the_statistics(against: int, client: TestClient) -> None:
    names = ("Supervised", "IML")
    values = pd.DataFrame(
        [
            (names[row], "1/8", "split0", seed, 100 * SCORES[row, seed])
            for row in (0, 1)
            for seed in range(SEEDS)
        ],
        columns=["row", "column", "split", "seed", "value"],
    )
    expected = paired_differences(values, names[against]).iloc[0]
    told = asked(client, "/differences", against=names[against])
    (line,) = told["lines"]
    assert line["row"] == names[1 - against] and line["is_tested"]
    for name in ("n", "mean", "std", "ci_low", "ci_high", "effect_size", "p_holm"):
        assert line[name] == pytest.approx(expected[name]), name
    assert [pair["difference"] for pair in line["pairs"]] == pytest.approx(expected["points"])
    assert told["domain"][0] <= 0 <= told["domain"][1]


def test_of_very_many_rows_only_means_are_told(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside, "MOST_TESTED", 1)
    told = asked(client, "/differences", against="IML")
    (line,) = told["lines"]
    assert line["mean"] == pytest.approx(100 * (SCORES[0] - SCORES[1]).mean())
    assert not line["is_tested"] and line["p_holm"] is None
    assert told["notes"] == ["More than 1 rows: differences are not tested."]


def test_differences_that_cannot_be_had_say_why(client: TestClient) -> None:
    told = asked(client, "/differences", against="nobody")
    assert told["lines"] == []
    assert "no row of this name has a scored run" in told["problem"]


def test_rows_without_a_common_seed_have_no_differences(tmp_path: Path) -> None:
    """As while a grid begins: one row has its first runs, the others have none."""
    grid = LiveGrid.make(
        tmp_path,
        rows=("Supervised", "IML"),
        columns=("1/8",),
        num_seeds=2,
        state_of=lambda number: "done" if number < 2 else "new",
    )
    told = asked(client_of(live_of(grid.out)), "/differences", against="Supervised")
    assert (told["problem"], told["total"], told["lines"]) == ("", 0, [])


def test_curves_are_means_over_the_seeds_that_have_them(client: TestClient, grid: LiveGrid) -> None:
    rows = [["val/miou", step, step, value] for step, value in ((500, 0.2), (1000, 0.4))]
    grid.write("grid-0-0-0", "metrics/end.json", rows)
    rows = [["val/miou", step, step, value] for step, value in ((500, 0.3), (1000, 0.6))]
    grid.write("grid-0-0-1", "metrics/end.json", rows)
    told = asked(client, "/curves", metric="val/miou", row=["Supervised"])
    (curve,) = told["curves"]
    assert (curve["row"], curve["n"], curve["n_expected"]) == ("Supervised", 2, SEEDS)
    steps, means, spreads = zip(*curve["points"], strict=True)
    assert steps == (500, 1000)
    assert means == pytest.approx((0.25, 0.5))
    assert spreads == pytest.approx(tuple(np.std([[0.2, 0.4], [0.3, 0.6]], axis=0, ddof=1)))
    assert "2 of 6 runs" in told["notes"][0]
    assert not any(key.startswith("final/") for key in told["metrics"])
    both = asked(client, "/curves", metric="train/loss", row=["Supervised", "IML"])
    assert [curve["row"] for curve in both["curves"]] == ["IML"]
    assert asked(client, "/curves", metric="no/such", row=["IML"])["curves"] == []


def test_one_seed_has_no_spread(client: TestClient, grid: LiveGrid) -> None:
    (grid.folder("grid-1-0-1") / "metrics" / "end.json").unlink()
    told = asked(client, "/curves", metric="val/miou", row=["IML"])
    assert {point[2] for point in told["curves"][0]["points"]} == {None}


def test_pictures_are_of_one_seed_in_every_row(client: TestClient, grid: LiveGrid) -> None:
    told = asked(client, "/pictures")
    assert (told["seed"], told["seeds"], told["total"]) == (0, list(range(SEEDS)), 2)
    assert told["names"] == ["val_00000.png", "val_00001.png"]
    assert [row["run_id"] for row in told["rows"]] == ["grid-0-0-0", "grid-1-0-0"]
    assert told["is_same_data"]
    (grid.folder("grid-0-0-1") / "predictions" / "val_00000.png").unlink()
    told = asked(client, "/pictures", seed=1)
    assert told["names"] == ["val_00001.png", "val_00000.png"], "what every row has comes first"
    assert told["rows"][0]["pictures"] == ["val_00001.png"]
    assert asked(client, "/pictures", seed=4)["names"] == []


@pytest.mark.parametrize("path", ["", "/differences", "/curves", "/pictures"])
@pytest.mark.parametrize(("key", "column"), [("grid", "no"), ("no", "1/8")])
def test_what_the_study_does_not_have_is_not_found(
    path: str, key: str, column: str, client: TestClient
) -> None:
    more = {"against": "IML", "metric": "val/miou", "row": "IML"}
    answer = client.get(f"/api/rows{path}", params={"key": key, "column": column, **more})
    assert answer.status_code == 404


def test_rows_are_drawn_that_have_their_scores(tmp_path: Path) -> None:
    """The first row has none, the second half of them."""
    num = DRAWN_FIRST + 2
    grid = LiveGrid.make(
        tmp_path,
        rows=[f"row {number}" for number in range(num)],
        columns=("1/8",),
        num_seeds=2,
        state_of=lambda number: "new" if number in (0, 1, 3) else "done",
    )
    told = asked(client_of(live_of(grid.out)), "")
    assert told["drawn"] == [f"row {number}" for number in range(2, num)]
    assert told["choices"] == [f"row {number}" for number in range(1, num)]


def test_names_that_mean_harm_are_rows_like_others(tmp_path: Path) -> None:
    grid = LiveGrid.make(
        tmp_path,
        rows=HOSTILE_NAMES,
        columns=("1/8",),
        num_seeds=2,
        state_of=lambda number: "done",
    )
    client = client_of(live_of(grid.out))
    for name in HOSTILE_NAMES:
        told = asked(client, "/differences", against=name)
        assert told["problem"] == ""
        assert [line["row"] for line in told["lines"]] == [n for n in HOSTILE_NAMES if n != name]


def test_a_study_without_scores_has_no_scale() -> None:
    assert domain([]) is None
    assert domain([float("nan"), 2.0, 1.0, float("inf")]) == [1.0, 2.0]
