"""Final scores of every run as points, with the mean and its interval."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rml_dashboards.comparisons.cells import scored_runs
from rml_dashboards.diagrams.diagram import Diagram, Material
from rml_dashboards.errors import DashboardError
from rml_dashboards.figures.style import framed

ROW_INCHES = 0.24
"""Height of a line for one row of the table."""
SCORE_COLUMNS = ["row", "column", "seed", "split", "value", "run_id"]


def scores(material: Material) -> Diagram:
    """One line per row, one panel per column. Raises DashboardError where no run has a score."""
    runs = scored_runs(material.table)
    if not len(runs):
        raise DashboardError(f"{material.title}: no run has a score yet")
    return Diagram(
        draw=lambda: _draw(material, runs),
        values=runs[SCORE_COLUMNS].reset_index(drop=True),
        says="Points: runs; bar: mean; line: its 95 % t interval, none for one run.",
    )


def _draw(material: Material, runs: pd.DataFrame) -> Figure:
    columns = material.columns()
    rows = material.rows()
    height = 0.75 + ROW_INCHES * len(rows)
    figure, axes = framed(len(columns), material.title, height=height)
    for panel, column in zip(axes, columns, strict=True):
        _panel(panel, material, runs[runs["column"] == column], rows, column)
        if len(columns) > 1:
            panel.set_title(column)
        panel.set_xlabel(material.unit(column))
    axes[0].set_yticks(range(len(rows)), labels=rows)
    axes[0].set_ylim(len(rows) - 0.5, -0.5)
    return figure


def _panel(
    panel: Axes, material: Material, runs: pd.DataFrame, rows: list[str], column: str
) -> None:
    cells = {(entry.row, entry.column): entry for entry in material.table.cells()}
    for place, row in enumerate(rows):
        own = runs[runs["row"] == row]["value"]
        look = material.look(row)
        panel.plot(own, [place] * len(own), linestyle="", alpha=0.75, markersize=3.6, **look)
        entry = cells[row, column]
        if entry.mean is None:
            continue
        panel.plot([entry.mean] * 2, [place - 0.3, place + 0.3], color="black", linewidth=1.2)
        if entry.ci_low is not None and entry.ci_high is not None:
            panel.plot([entry.ci_low, entry.ci_high], [place] * 2, color="black", linewidth=0.8)
    panel.grid(axis="y", visible=False)
