"""Columns that show another part of a curve than its end."""

from pathlib import Path
from typing import Any

import pytest

from rml_dashboards.records.run_folder_reader import RunFolderReader
from rml_dashboards.tables.entries import Entry, Table
from rml_dashboards.tables.publish import load_table
from rml_dashboards.tables.render import legend
from rml_dashboards.tables.specification import CellSpec, ColumnSpec, RowSpec, TableSpec
from tests.support.dashboards.finished_folders import write_finished
from tests.support.dashboards.recorded_study import measure

CURVES = {
    "val/miou": {1: 0.1, 2: 0.5, 3: 0.3, 4: 0.4},
    "holdout/miou": {1: 0.2, 2: 0.2, 3: 0.6, 4: 0.6},
}


def table_with(folder: Path, curves: dict[str, dict[int, float]], *columns: ColumnSpec) -> Table:
    write_finished(folder, "a", 0.9)
    measure(folder, "a", curves)
    spec = TableSpec(name="t", title="T", rows=(RowSpec(label="A"),), columns=columns)
    cells = [CellSpec(row="A", column=column.label, seed=0, run_id="a") for column in columns]
    return load_table(spec, cells, RunFolderReader(str(folder)))


def column(label: str, **more: Any) -> ColumnSpec:
    return ColumnSpec(label=label, metric="val/miou", **more)


def test_columns_aggregate_differently(tmp_path: Path) -> None:
    table = table_with(
        tmp_path,
        CURVES,
        ColumnSpec(label="final"),
        column("last"),
        column("held out", aggregate="best_holdout"),
        column("of three", aggregate="mean_of_last", last_k=3),
    )
    means = {entry.column: entry.mean for entry in table.cells()}
    assert means == pytest.approx({"final": 90, "last": 40, "held out": 30, "of three": 40})
    protocols = [entry.protocols[0].rpartition("/")[2] for entry in table.cells()]
    assert protocols == ["last", "last", "best_holdout", "mean_of_last_3"]
    assert "of three: mean of the last 3 values of each run." in legend(table)


def test_of_equal_evaluations_the_first_counts(tmp_path: Path) -> None:
    (entry,) = table_with(tmp_path, CURVES, column("1", aggregate="best_holdout")).cells()
    assert entry.mean == pytest.approx(30), "step 3, not 4"


@pytest.mark.parametrize(
    "asked", [{"aggregate": "best_holdout"}, {"aggregate": "mean_of_last", "last_k": 5}]
)
def test_too_little_recorded_is_no_score(asked: dict[str, Any], tmp_path: Path) -> None:
    curves = {"val/miou": CURVES["val/miou"]}
    entry: Entry
    (entry,) = table_with(tmp_path, curves, column("1", **asked)).cells()
    assert (entry.status, entry.mean) == ("unscored", None)
