"""Final scores of every run as points, with the mean and its interval."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from rml_dashboards.comparisons.cells import scored_runs
from rml_dashboards.diagrams.diagram import Diagram, Material, rows_axis
from rml_dashboards.errors import DashboardError
from rml_dashboards.figures.chart import (
    Axis,
    Chart,
    Mark,
    Panel,
    Points,
    Stroke,
    as_values,
)

ROW_INCHES = 0.24
"""Height of a line for one row of the table."""
SCORE_COLUMNS = ["row", "column", "seed", "split", "value", "run_id"]


def scores(material: Material) -> Diagram:
    """One line per row, one panel per column. Raises DashboardError where no run has a score."""
    runs = scored_runs(material.table)
    if not len(runs):
        raise DashboardError(f"{material.title}: no run has a score yet")
    return Diagram(
        chart=_chart(material, runs),
        values=runs[SCORE_COLUMNS].reset_index(drop=True),
        says="Points: runs; bar: mean; line: its 95 % t interval, none for one run.",
    )


def _chart(material: Material, runs: pd.DataFrame) -> Chart:
    columns = material.columns()
    rows = material.rows()
    panels = tuple(
        Panel(
            marks=tuple(_marks(material, runs[runs["column"] == column], rows, column)),
            x=Axis(label=material.unit(column)),
            title=column if len(columns) > 1 else "",
        )
        for column in columns
    )
    height = 0.75 + ROW_INCHES * len(rows)
    return Chart(title=material.title, panels=panels, y=rows_axis(rows), height=height)


def _marks(material: Material, runs: pd.DataFrame, rows: list[str], column: str) -> Iterator[Mark]:
    cells = {(entry.row, entry.column): entry for entry in material.table.cells()}
    for place, row in enumerate(rows):
        own = runs[runs["row"] == row]
        yield Points(
            row=row,
            x=as_values(own["value"]),
            y=np.full(len(own), float(place)),
            look=material.look(row),
            opacity=0.75,
            size=3.6,
            told=tuple(f"seed {seed}" for seed in own["seed"]),
        )
        entry = cells[row, column]
        if entry.mean is None:
            continue
        yield Stroke(x=[entry.mean] * 2, y=[place - 0.3, place + 0.3], width=1.2)
        if entry.ci_low is not None and entry.ci_high is not None:
            yield Stroke(x=[entry.ci_low, entry.ci_high], y=[place] * 2)
