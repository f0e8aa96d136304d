"""The critical-difference diagram: mean ranks of rows over columns, and which are not told
apart."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rml_dashboards.comparisons.cells import common_columns, scored_runs
from rml_dashboards.diagrams.diagram import Diagram, Material
from rml_dashboards.errors import DashboardError
from rml_dashboards.figures.style import COLUMN_INCHES, framed
from rml_dashboards.statistics.ranking import ALPHA, Ranking, rank_rows

LABEL_INCHES = 0.2
BAR_INCHES = 0.1
CHARACTER_INCHES = 0.055
CD_HEIGHT = -1.9
"""Of the measure above the axis, in lines."""


def ranks(material: Material) -> Diagram:
    """Mean ranks over the columns of the table's metric that all rows have.

    Raises:
        DashboardError: fewer than two rows or columns can be ranked.
    """
    table = material.table
    runs = scored_runs(table)
    columns = common_columns(table)
    some = runs[runs["column"].isin(columns)] if len(runs) else runs
    if not len(some):
        raise DashboardError(f"{material.title}: no run has a score yet")
    means = some.pivot_table(index="row", columns="column", values="value", sort=False)
    ranking = rank_rows(means, higher_is_better=table.spec.higher_is_better)
    values = pd.DataFrame({"row": ranking.mean_ranks.index, "mean_rank": ranking.mean_ranks.values})
    p = "" if pd.isna(ranking.friedman_p) else f" Friedman's test: p = {ranking.friedman_p:.3f}."
    return Diagram(
        draw=lambda: _draw(material, ranking),
        values=values,
        says=(
            f"Mean rank over {ranking.num_columns} columns, 1 is best. CD: Nemenyi's critical "
            f"difference at {ALPHA:g}; rows under one bar are not told apart.{p}"
        ),
    )


def _draw(material: Material, ranking: Ranking) -> Figure:
    num_rows = len(ranking.mean_ranks)
    half = -(-num_rows // 2)
    height = 1.0 + LABEL_INCHES * half + BAR_INCHES * len(ranking.groups)
    figure, (panel,) = framed(1, material.title, height=height)
    room = _label_room(ranking)
    panel.set_xlim(num_rows + room, 1 - room)  # the best on the right, as in Demšar's
    panel.set_xticks(range(1, num_rows + 1))
    panel.xaxis.tick_top()
    panel.yaxis.set_visible(False)
    panel.spines[["bottom", "left", "right"]].set_visible(False)
    panel.spines["top"].set_visible(True)
    panel.spines["top"].set_position(("data", 0))
    panel.spines["top"].set_bounds(1, num_rows)
    panel.grid(visible=False)
    below = _bars(panel, ranking)
    panel.set_ylim(below + half + 0.2, -2.8)
    _labels(panel, ranking, below, half, room)
    _measure(panel, ranking.critical_difference, num_rows)
    return figure


def _label_room(ranking: Ranking) -> float:
    """Room for names beside the axis, in ranks; at most as much as leaves half the width to it."""
    num_rows = len(ranking.mean_ranks)
    longest = max(len(f"{row} (1.00)") for row in ranking.mean_ranks.index)
    share = min(0.25, longest * CHARACTER_INCHES / COLUMN_INCHES)
    return share * (num_rows - 1) / (1 - 2 * share)


def _bars(panel: Axes, ranking: Ranking) -> float:
    """A bar over each group of rows that are not told apart; returns how far down they reach."""
    step = BAR_INCHES / LABEL_INCHES
    for number, group in enumerate(ranking.groups, start=1):
        own = ranking.mean_ranks[list(group)]
        ends = [float(own.min()) - 0.05, float(own.max()) + 0.05]
        panel.plot(ends, [number * step] * 2, color="black", linewidth=2.4, solid_capstyle="round")
    return len(ranking.groups) * step + 0.2


def _labels(panel: Axes, ranking: Ranking, below: float, half: int, room: float) -> None:
    """Names beside the axis, the better half on the right."""
    for place, (row, rank) in enumerate(ranking.mean_ranks.items()):
        is_right = place < half
        depth = below + (place if is_right else len(ranking.mean_ranks) - 1 - place) + 0.5
        edge = 1 - room if is_right else len(ranking.mean_ranks) + room
        panel.plot([rank, rank, edge], [0, depth, depth], color="#555555", linewidth=0.8)
        panel.annotate(
            f"{row} ({rank:.2f})",
            (edge, depth),
            xytext=(-3 if is_right else 3, 1),
            textcoords="offset points",
            ha="right" if is_right else "left",
            va="bottom",
            fontsize=7.5,
        )


def _measure(panel: Axes, difference: float, num_rows: int) -> None:
    """How long the critical difference is, above the axis."""
    begin = float(num_rows)
    end = begin - difference
    panel.plot([begin, end], [CD_HEIGHT] * 2, color="black", linewidth=1.2, marker="|")
    panel.annotate(
        f"CD = {difference:.2f}",
        ((begin + end) / 2, CD_HEIGHT),
        xytext=(0, 3),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=7.5,
        annotation_clip=False,
    )
