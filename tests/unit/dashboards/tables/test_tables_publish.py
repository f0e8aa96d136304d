"""From a real MLflow store to files: what `rml tables` does."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from rml_dashboards.errors import DashboardError
from rml_dashboards.records.mlflow_reader import MlflowReader
from rml_dashboards.tables.publish import load_table, write_table
from rml_dashboards.tables.specification import CellSpec, ColumnSpec, RowSpec, TableSpec
from tests.support.documentation.pages import ROOT, Page
from tests.support.recorded import Store

SPEC = TableSpec(
    name="ladder",
    title="Ladder",
    rows=(RowSpec(label="IML"), RowSpec(label="RML")),
    columns=(ColumnSpec(label="1/8"),),
)
CELLS = [
    CellSpec(row=row, column="1/8", seed=seed, run_id=f"{row.lower()}-s{seed}")
    for row in ("IML", "RML")
    for seed in (0, 1)
]


def reader_of(store: Store, *, fresh: bool = False) -> MlflowReader:
    return MlflowReader(store.uri, store.file.parent / "ledger", fresh=fresh)


def written(store: Store, cells: Sequence[CellSpec], folder: Path, **more: bool) -> list[Path]:
    return write_table(load_table(SPEC, cells, reader_of(store, **more)), folder)


def fill(store: Store) -> None:
    store.add("iml-s0", 0.50)
    store.add("iml-s1", 0.52, study="another study")
    store.add("rml-s0", 0.60)
    store.add("rml-s1", status="RUNNING")
    store.add_foreign()


def test_files_hold_the_table_and_lead_back_to_mlflow(store: Store, tmp_path: Path) -> None:
    fill(store)
    paths = written(store, CELLS, tmp_path / "out")
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == [
        "out/ladder.md",
        "out/ladder.csv",
    ]
    text = paths[0].read_text()
    assert "51.0 ± 1.4 (2)" in text
    assert "60.0 (1 of 2) [1]" in text
    for run in store.client.search_runs(
        [store.experiment("study"), store.experiment("another study")]
    ):
        assert run.info.run_id in text
        assert run.info.run_id in paths[1].read_text()


def test_writing_again_gives_the_same_bytes_and_no_place_of_this_machine(
    store: Store, tmp_path: Path
) -> None:
    fill(store)
    first = [path.read_bytes() for path in written(store, CELLS, tmp_path / "out")]
    again = [path.read_bytes() for path in written(store, CELLS[::-1], tmp_path / "out")]
    fresh = [
        path.read_bytes() for path in written(store, CELLS, tmp_path / "elsewhere", fresh=True)
    ]
    assert first == again == fresh
    for data in first:
        assert data.endswith(b"\n") and not data.endswith(b"\n\n")
        assert str(tmp_path).encode() not in data
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "ladder.csv",
        "ladder.md",
    ]


def test_the_table_follows_the_store(store: Store, tmp_path: Path) -> None:
    fill(store)
    before = load_table(SPEC, CELLS, reader_of(store))
    (running,) = store.client.search_runs([store.experiment()], "attributes.status = 'RUNNING'")
    store.finish(running.info.run_id, 0.62, end_ms=running.info.start_time + 1)
    after = load_table(SPEC, CELLS, reader_of(store))
    assert [entry.status for entry in before.cells()] == ["complete", "partial"]
    assert [(entry.status, entry.best) for entry in after.cells()] == [
        ("complete", False),
        ("complete", True),
    ]


def test_a_study_that_was_never_launched_is_all_missing(store: Store, tmp_path: Path) -> None:
    table = load_table(SPEC, CELLS, reader_of(store))
    assert [entry.status for entry in table.cells()] == ["missing", "missing"]


def test_a_misplaced_cell_writes_nothing(store: Store, tmp_path: Path) -> None:
    wrong = CellSpec(row="CPS", column="1/8", seed=0, run_id="cps-s0")
    with pytest.raises(DashboardError, match="row 'CPS'"):
        written(store, [*CELLS, wrong], tmp_path / "out")
    assert not list((tmp_path / "out").glob("ladder.*"))


def test_the_documented_example_runs(store: Store, tmp_path: Path) -> None:
    page = Page(ROOT / "docs" / "tracking-and-tables.md")
    (shown,) = (block.text for block in page.blocks if block.language == "python")
    example = shown.replace("sqlite:///outputs/mlflow.db", store.uri)
    example = example.replace('"outputs', f'"{tmp_path}/out')
    exec(compile(example, str(page.path), "exec"), {})
    assert "62.85" in (tmp_path / "out" / "tables" / "table4.md").read_text()
