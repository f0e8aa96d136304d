"""The IoU of every class, by row."""

import dataclasses
from collections.abc import Iterator

import pandas as pd

from rml_dashboards.contract.metric_keys import FINAL, IOU
from rml_dashboards.contract.metric_names import axis_label
from rml_dashboards.diagrams.diagram import Diagram, Material, entries_of, rows_axis
from rml_dashboards.errors import DashboardError
from rml_dashboards.figures.chart import Axis, Chart, Mark, Panel, Points, as_values
from rml_dashboards.tables.entries import Table

CLASS_INCHES = 0.26
ROW_INCHES = 0.03
"""Least room for a class, and for each row within it."""
VALUES = ["table", "row", "class", "mean", "std", "n"]
CLASS_IOU = f"{FINAL}/{IOU}"
SPREAD = 0.6
"""Share of a class's line over which its rows are spread."""


def classes(material: Material) -> Diagram:
    """One line per class, one panel per table of classes.

    Raises:
        DashboardError: no run has recorded the IoU of a class.
    """
    if not material.classes:
        raise DashboardError(f"{material.title}: no run has recorded the IoU of a class")
    lines = [(table.spec.title, *line) for table in material.classes for line in entries_of(table)]
    return Diagram(
        chart=_chart(material),
        values=pd.DataFrame(lines, columns=VALUES),
        says="Points: mean over seeds; line: ± sample standard deviation, none for one run.",
    )


def _chart(material: Material) -> Chart:
    tables = material.classes
    rows = [row for row in material.rows() if any(_has(table, row) for table in tables)]
    names = [column.label for column in tables[0].spec.columns]
    most = max(len(table.spec.columns) for table in tables)
    panels = tuple(
        Panel(
            marks=tuple(_marks(material, table, rows)),
            x=Axis(label=axis_label([CLASS_IOU], table.spec.scale)),
            title=table.spec.title.rpartition(", ")[2] if len(tables) > 1 else "",
        )
        for table in tables
    )
    return Chart(
        title=material.title,
        panels=panels,
        y=dataclasses.replace(rows_axis(names), limits=(most - 0.5, -0.5)),
        legend=material.legend(rows),
        height=0.7 + max(CLASS_INCHES, ROW_INCHES * len(rows)) * most,
    )


def _has(table: Table, row: str) -> bool:
    return any(entry.row == row and entry.mean is not None for entry in table.cells())


def _marks(material: Material, table: Table, rows: list[str]) -> Iterator[Mark]:
    names = [column.label for column in table.spec.columns]
    entries = pd.DataFrame(entries_of(table), columns=["row", "class", "mean", "std", "n"])
    for place, row in enumerate(rows):
        own = entries[entries["row"] == row]
        shift = SPREAD * ((place + 0.5) / len(rows) - 0.5)
        yield Points(
            row=row,
            x=as_values(own["mean"]),
            y=as_values([names.index(name) + shift for name in own["class"]]),
            x_error=as_values(own["std"]),
            look=material.look(row),
            size=3.4,
            told=tuple(own["class"]),
        )
