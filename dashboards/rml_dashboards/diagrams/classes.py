"""The IoU of every class, by row."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rml_dashboards.diagrams.diagram import Diagram, Material, entries_of
from rml_dashboards.errors import DashboardError
from rml_dashboards.figures.style import framed
from rml_dashboards.tables.entries import Table

CLASS_INCHES = 0.26
VALUES = ["table", "row", "class", "mean", "std", "n"]
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
        draw=lambda: _draw(material),
        values=pd.DataFrame(lines, columns=VALUES),
        says="Points: mean over seeds; line: ± sample standard deviation, none for one run.",
    )


def _draw(material: Material) -> Figure:
    num_classes = max(len(table.spec.columns) for table in material.classes)
    rows = [row for row in material.rows() if any(_has(table, row) for table in material.classes)]
    height = 0.7 + CLASS_INCHES * num_classes
    figure, axes = framed(
        len(material.classes), material.title, material.legend(rows), height=height
    )
    for panel, table in zip(axes, material.classes, strict=True):
        _panel(panel, material, table, rows)
        if len(material.classes) > 1:
            panel.set_title(table.spec.title.rpartition(", ")[2])
        panel.set_xlabel(f"IoU × {table.spec.scale:g}" if table.spec.scale != 1 else "IoU")
    names = [column.label for column in material.classes[0].spec.columns]
    axes[0].set_yticks(range(len(names)), labels=names)
    axes[0].set_ylim(num_classes - 0.5, -0.5)
    return figure


def _has(table: Table, row: str) -> bool:
    return any(entry.row == row and entry.mean is not None for entry in table.cells())


def _panel(panel: Axes, material: Material, table: Table, rows: list[str]) -> None:
    names = [column.label for column in table.spec.columns]
    entries = pd.DataFrame(entries_of(table), columns=["row", "class", "mean", "std", "n"])
    for place, row in enumerate(rows):
        own = entries[entries["row"] == row]
        shift = SPREAD * ((place + 0.5) / len(rows) - 0.5)
        panel.errorbar(
            own["mean"],
            [names.index(name) + shift for name in own["class"]],
            xerr=own["std"].astype(np.float64),
            linestyle="",
            markersize=3.4,
            elinewidth=0.8,
            **material.look(row),
        )
    panel.grid(axis="y", visible=False)
