"""Small tables for tests: rows of recorded runs whose ids follow from row, column and seed."""

from typing import Any

from rml_dashboards.records.recorded_run import RecordedRun
from rml_dashboards.records.records import to_records
from rml_dashboards.tables.entries import Entry, Table
from rml_dashboards.tables.filling import fill_table
from rml_dashboards.tables.specification import CellSpec, ColumnSpec, RowSpec, TableSpec
from tests.support.recorded import PROTOCOL, recorded

OTHER_PROTOCOL = "scenes-16x24/teacher_1/last"


def table_of(
    runs: list[RecordedRun],
    *,
    rows: tuple[RowSpec, ...] = (RowSpec(label="IML"),),
    columns: tuple[ColumnSpec, ...] = (ColumnSpec(label="1/8"),),
    num_seeds: int = 3,
    **spec: Any,
) -> Table:
    """A table whose cells expect the run ids `<row>-<column>-<seed>`."""
    cells = [
        CellSpec(
            row=row.label,
            column=column.label,
            seed=seed,
            run_id=f"{row.label}-{column.label}-{seed}",
        )
        for row in rows
        if not row.reported_only
        for column in columns
        for seed in range(num_seeds)
    ]
    parts: dict[str, Any] = {"name": "t", "title": "T", "rows": rows, "columns": columns, **spec}
    return fill_table(TableSpec(**parts), cells, to_records(runs))


def only(table: Table) -> Entry:
    (entry,) = table.cells()
    return entry


def runs_of(
    row: str, *scores: float, column: str = "1/8", protocol: str = PROTOCOL
) -> list[RecordedRun]:
    """One finished run per score, seeds from 0."""
    return [
        recorded(f"{row}-{column}-{seed}", score, protocol=protocol)
        for seed, score in enumerate(scores)
    ]


def notes_of(table: Table, entry: Entry) -> list[str]:
    return [table.notes[number - 1] for number in entry.marks]
