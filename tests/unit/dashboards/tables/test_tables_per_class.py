"""Tables of single classes, from run folders."""

from pathlib import Path

import pytest

from rml_dashboards.errors import DashboardError
from rml_dashboards.records.run_folder_reader import RunFolderReader
from rml_dashboards.tables.entries import Table
from rml_dashboards.tables.per_class import class_prefix, class_tables
from rml_dashboards.tables.specification import CellSpec, ColumnSpec, RowSpec, TableSpec
from tests.support.dashboards.finished_folders import write_finished


def tables_of(folder: Path, *columns: ColumnSpec) -> list[Table]:
    """Row `A` with two seeds, each recorded as below."""
    write_finished(folder, "a-0", 0.4, iou__road=0.5, iou__sky=0.3)
    write_finished(folder, "a-1", 0.6, iou__road=0.7, iou__sky=0.5)
    spec = TableSpec(name="t", title="T", rows=(RowSpec(label="A"),), columns=columns)
    cells = [
        CellSpec(row="A", column=column.label, seed=seed, run_id=f"a-{seed}")
        for column in columns
        for seed in (0, 1)
    ]
    return class_tables(spec, cells, RunFolderReader(str(folder)))


def test_mean_and_spread_of_every_class(tmp_path: Path) -> None:
    (table,) = tables_of(tmp_path, ColumnSpec(label="1/8"))
    assert table.spec.name == "t-classes"
    found = {entry.column: (entry.mean, entry.std) for entry in table.cells()}
    assert list(found) == ["mean", "road", "sky"]
    assert found["mean"] == pytest.approx((50.0, 20 / 2**0.5))
    assert found["road"] == pytest.approx((60.0, 20 / 2**0.5))
    assert found["sky"] == pytest.approx((40.0, 20 / 2**0.5))


def test_the_first_network_by_its_name(tmp_path: Path) -> None:
    """Its scores carry no network in their keys."""
    (table,) = tables_of(tmp_path, ColumnSpec(label="1/8", metric="final/teacher_1/miou"))
    assert {entry.column: entry.mean for entry in table.cells()} == pytest.approx(
        {"mean": 50.0, "road": 60.0, "sky": 40.0}
    )


def test_every_column_has_a_table_and_a_file_of_its_own(tmp_path: Path) -> None:
    columns = (ColumnSpec(label="1/8"), ColumnSpec(label="?"), ColumnSpec(label="loss", metric="x"))
    names = [table.spec.name for table in tables_of(tmp_path, *columns)]
    assert names == ["t-classes-1-1-8", "t-classes-2"]


def test_what_has_no_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DashboardError, match="no column shows a final mean IoU"):
        tables_of(tmp_path, ColumnSpec(label="loss", metric="train/loss"))
    write_finished(tmp_path / "bare", "a-0", 0.4)
    spec = TableSpec(
        name="t", title="T", rows=(RowSpec(label="A"),), columns=(ColumnSpec(label="1"),)
    )
    cells = [CellSpec(row="A", column="1", seed=0, run_id="a-0")]
    with pytest.raises(DashboardError, match="no run has recorded the IoU of a class"):
        class_tables(spec, cells, RunFolderReader(str(tmp_path / "bare")))


@pytest.mark.parametrize(
    ("metric", "prefix"),
    [
        ("final/miou", "final/iou/"),
        ("final/student_2/miou", "final/student_2/iou/"),
        ("final/accuracy", ""),
        ("val/miou", ""),
        ("final/other/miou", ""),
    ],
)
def test_keys_of_classes_beside_a_metric(metric: str, prefix: str) -> None:
    assert class_prefix(metric) == prefix
