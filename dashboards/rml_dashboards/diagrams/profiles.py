"""Performance profiles: which share of a row's runs scores more than a threshold."""

from collections.abc import Iterator

import pandas as pd

from rml_dashboards.comparisons.cells import common_columns, performance_profiles
from rml_dashboards.diagrams.diagram import Diagram, Material
from rml_dashboards.errors import DashboardError
from rml_dashboards.figures.chart import (
    Axis,
    Band,
    Chart,
    Key,
    Look,
    Mark,
    Panel,
    Points,
    as_values,
)
from rml_dashboards.figures.style import BAND_OPACITY, LINE_STYLES

DRAWN_THRESHOLDS = 31
"""More cannot be told apart in a panel, and each takes a bootstrap per row."""


def profile(material: Material) -> Diagram:
    """Profiles over the columns of the table's metric.

    Raises:
        DashboardError: no row has runs of every such column.
    """
    frame = performance_profiles(material.table, DRAWN_THRESHOLDS)
    if frame.empty:
        raise DashboardError(
            f"{material.title}: no row has a scored run in every column of the table's metric yet"
        )
    columns = ", ".join(common_columns(material.table))
    return Diagram(
        chart=_chart(material, frame),
        values=frame,
        says=f"Share of runs above each score, over {columns}; band: 95 % bootstrap interval.",
    )


def _chart(material: Material, frame: pd.DataFrame) -> Chart:
    rows = [row for row in material.rows() if row in set(frame["row"])]
    looks = {
        row: Look(colour=material.look(row).colour, line=LINE_STYLES[place % len(LINE_STYLES)])
        for place, row in enumerate(rows)
    }
    marks = [mark for row in rows for mark in _marks(row, frame[frame["row"] == row], looks[row])]
    x = Axis(label=f"score τ ({material.unit(common_columns(material.table)[0])})")
    return Chart(
        title=material.title,
        panels=(Panel(marks=tuple(marks), x=x),),
        y=Axis(label="share of runs above τ", limits=(-0.03, 1.03)),
        legend=tuple(Key(label=row, look=looks[row], row=row) for row in rows),
    )


def _marks(row: str, own: pd.DataFrame, look: Look) -> Iterator[Mark]:
    x = as_values(own["threshold"])
    yield Points(row=row, x=x, y=as_values(own["share"]), look=look, is_stepped=True)
    if own["low"].notna().all():
        yield Band(
            row=row,
            x=x,
            low=as_values(own["low"]),
            high=as_values(own["high"]),
            colour=look.colour,
            opacity=BAND_OPACITY,
            is_stepped=True,
        )
