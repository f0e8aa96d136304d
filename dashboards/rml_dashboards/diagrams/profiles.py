"""Performance profiles: which share of a row's runs scores more than a threshold."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rml_dashboards.comparisons.cells import common_columns, performance_profiles
from rml_dashboards.diagrams.diagram import Diagram, Material
from rml_dashboards.errors import DashboardError
from rml_dashboards.figures.style import BAND_OPACITY, LINE_STYLES, framed

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
        draw=lambda: _draw(material, frame),
        values=frame,
        says=f"Share of runs above each score, over {columns}; band: 95 % bootstrap interval.",
    )


def _draw(material: Material, frame: pd.DataFrame) -> Figure:
    rows = [row for row in material.rows() if row in set(frame["row"])]
    lines = {row: LINE_STYLES[place % len(LINE_STYLES)] for place, row in enumerate(rows)}
    looks = {row: {"color": material.look(row)["color"], "linestyle": lines[row]} for row in rows}
    handles = [Line2D([], [], label=row, **looks[row]) for row in rows]
    figure, (panel,) = framed(1, material.title, handles)
    for row in rows:
        own = frame[frame["row"] == row]
        panel.step(own["threshold"], own["share"], where="post", **looks[row])
        if own["low"].notna().all():
            panel.fill_between(
                own["threshold"],
                own["low"],
                own["high"],
                step="post",
                alpha=BAND_OPACITY,
                linewidth=0,
                color=str(looks[row]["color"]),
            )
    panel.set_ylim(-0.03, 1.03)
    panel.set_xlabel(f"score τ ({material.unit(common_columns(material.table)[0])})")
    panel.set_ylabel("share of runs above τ")
    return figure
