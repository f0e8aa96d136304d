"""What small diagrams are made of: three rows, three columns, three seeds."""

import itertools
from typing import Any

from rml_dashboards.diagrams.diagram import Material
from rml_dashboards.tables.specification import ColumnSpec, RowSpec
from tests.support.dashboards.small_tables import runs_of, table_of

ROWS = ("Supervised", "IML", "RML")
COLUMNS = ("1/16", "1/8", "1/4")
SHARES = {"1/16": 1 / 16, "1/8": 1 / 8, "1/4": 1 / 4}


def score(row: str, column: str, seed: int) -> float:
    """Rows and columns get better in their order."""
    return 0.4 + 0.05 * ROWS.index(row) + 0.02 * COLUMNS.index(column) + 0.01 * seed


def material(**more: Any) -> Material:
    runs = [
        run
        for row, column in itertools.product(ROWS, COLUMNS)
        for run in runs_of(row, *(score(row, column, seed) for seed in range(3)), column=column)
    ]
    table = table_of(
        runs,
        rows=tuple(RowSpec(label=row) for row in ROWS),
        columns=tuple(ColumnSpec(label=column) for column in COLUMNS),
    )
    classes = table_of(
        runs,
        rows=table.spec.rows,
        columns=tuple(ColumnSpec(label=column) for column in COLUMNS),
        title="T: IoU of classes",
    )
    hours = dict.fromkeys(table.values["run_id"], 2.0)
    given: dict[str, Any] = {"labelled_share": SHARES, "hours": hours, "against": "Supervised"}
    return Material(table=table, title="T", classes=(classes,), **(given | more))
