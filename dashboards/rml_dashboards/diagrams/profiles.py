"""Performance profiles: which share of a row's runs scores more than a threshold."""

from collections.abc import Iterator

import pandas as pd

from rml_dashboards.comparisons.cells import common_columns, left_out, performance_profiles
from rml_dashboards.diagrams.diagram import Diagram, Material
from rml_dashboards.errors import DashboardError
from rml_dashboards.figures.chart import (
    Axis,
    Band,
    Chart,
    Look,
    Mark,
    Panel,
    Points,
    as_values,
)
from rml_dashboards.figures.style import MARKERS_PER_CURVE, band_opacity

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
        notes=tuple(f"Left out: {text}." for text in left_out(material.table)),
    )


def _chart(material: Material, frame: pd.DataFrame) -> Chart:
    rows = [row for row in material.rows() if row in set(frame["row"])]
    looks = {row: material.look(row, is_joined=True) for row in rows}
    marks = [
        mark
        for place, row in enumerate(rows)
        for mark in _marks(row, frame[frame["row"] == row], looks[row], (place, len(rows)))
    ]
    x = Axis(label=f"score τ: {material.unit(common_columns(material.table)[0])}", most_ticks=6)
    return Chart(
        title=material.title,
        panels=(Panel(marks=tuple(marks), x=x),),
        y=Axis(label="share of runs above τ", limits=(-0.03, 1.03)),
        legend=material.legend(rows, is_joined=True),
    )


def _marks(row: str, own: pd.DataFrame, look: Look, place: tuple[int, int]) -> Iterator[Mark]:
    """A row's profile; `place`: which of how many rows it is."""
    x = as_values(own["threshold"])
    share = as_values(own["share"])
    every = max(1, len(x) // MARKERS_PER_CURVE)
    first = place[0] * every // place[1]  # markers of profiles that coincide do not
    yield Points(row=row, x=x, y=share, look=look, is_stepped=True, markers_at=(first, every))
    if own["low"].notna().all():
        yield Band(
            row=row,
            x=x,
            low=as_values(own["low"]),
            high=as_values(own["high"]),
            colour=look.colour,
            opacity=band_opacity(place[1]),
            is_stepped=True,
        )
