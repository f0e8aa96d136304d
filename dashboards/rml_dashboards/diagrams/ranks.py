"""The critical-difference diagram: mean ranks of rows over columns, and which are not told
apart."""

from collections.abc import Iterator

import pandas as pd

from rml_dashboards.comparisons.cells import column_means, mixed_columns
from rml_dashboards.diagrams.diagram import Diagram, Material
from rml_dashboards.errors import DashboardError
from rml_dashboards.figures.chart import DIM, Axis, Chart, Mark, Panel, Stroke, Text
from rml_dashboards.figures.style import COLUMN_INCHES
from rml_dashboards.statistics.ranking import ALPHA, Ranking, rank_rows

LABEL_INCHES = 0.2
BAR_INCHES = 0.1
BAR_STEP = BAR_INCHES / LABEL_INCHES
TICK = -0.3
"""Height of a tick, in lines, up from the axis."""
MOST_NAMED_RANKS = 12
"""More numbers would run into each other."""
CHARACTER_INCHES = 0.055
CD_HEIGHT = -1.9
"""Of the measure above the axis, in lines."""


def ranks(material: Material) -> Diagram:
    """Mean ranks over the columns of the table's metric that all rows have.

    Raises:
        DashboardError: fewer than two rows or columns can be ranked.
    """
    table = material.table
    means, gaps = column_means(table)
    if means.empty:
        raise DashboardError(f"{material.title}: no run has a score yet")
    ranking = rank_rows(means, higher_is_better=table.spec.higher_is_better)
    values = pd.DataFrame({"row": ranking.mean_ranks.index, "mean_rank": ranking.mean_ranks.values})
    p = "" if pd.isna(ranking.friedman_p) else f" Friedman's test: p = {ranking.friedman_p:.3f}."
    return Diagram(
        chart=_chart(material, ranking),
        values=values,
        says=(
            f"Mean rank over {ranking.num_columns} columns, 1 is best. CD: Nemenyi's critical "
            f"difference at {ALPHA:g}; rows under one bar are not told apart.{p}"
        ),
        notes=tuple(f"Left out: {text}." for text in [*mixed_columns(table), *gaps]),
    )


def _chart(material: Material, ranking: Ranking) -> Chart:
    num_rows = len(ranking.mean_ranks)
    half = -(-num_rows // 2)
    room = _label_room(ranking)
    below = len(ranking.groups) * BAR_STEP + 0.2
    marks = [
        *_scale(num_rows),
        *_bars(ranking),
        *_labels(ranking, below, half, room),
        *_measure(ranking.critical_difference, num_rows),
    ]
    x = Axis(limits=(num_rows + room, 1 - room), is_hidden=True)  # the best on the right
    return Chart(
        title=material.title,
        panels=(Panel(marks=tuple(marks), x=x),),
        y=Axis(limits=(below + half + 0.2, -2.8), is_hidden=True),
        height=1.0 + LABEL_INCHES * half + BAR_INCHES * len(ranking.groups),
    )


def _label_room(ranking: Ranking) -> float:
    """Room for names beside the axis, in ranks; at most as much as leaves half the width to it."""
    num_rows = len(ranking.mean_ranks)
    longest = max(len(f"{row} (1.00)") for row in ranking.mean_ranks.index)
    share = min(0.25, longest * CHARACTER_INCHES / COLUMN_INCHES)
    return share * (num_rows - 1) / (1 - 2 * share)


def _scale(num_rows: int) -> Iterator[Mark]:
    """The axis of ranks, as in Demšar's: above everything that hangs from it."""
    yield Stroke(x=[1, num_rows], y=[0, 0])
    step = next(step for step in (1, 2, 5, 10, num_rows) if num_rows <= step * MOST_NAMED_RANKS)
    for rank in range(1, num_rows + 1):
        yield Stroke(x=[rank] * 2, y=[0, TICK])
        if rank == 1 or rank % step == 0:
            yield Text(x=rank, y=TICK, text=str(rank))


def _bars(ranking: Ranking) -> Iterator[Mark]:
    """A bar over each group of rows that are not told apart."""
    for number, group in enumerate(ranking.groups, start=1):
        own = ranking.mean_ranks[list(group)]
        ends = [float(own.min()) - 0.05, float(own.max()) + 0.05]
        yield Stroke(x=ends, y=[number * BAR_STEP] * 2, width=2.4)


def _labels(ranking: Ranking, below: float, half: int, room: float) -> Iterator[Mark]:
    """Names beside the axis, the better half on the right."""
    for place, (row, rank) in enumerate(ranking.mean_ranks.items()):
        is_right = place < half
        depth = below + (place if is_right else len(ranking.mean_ranks) - 1 - place) + 0.5
        edge = 1 - room if is_right else len(ranking.mean_ranks) + room
        yield Stroke(x=[rank, rank, edge], y=[0, depth, depth], colour=DIM)
        side = "right" if is_right else "left"
        yield Text(x=edge, y=depth, text=f"{row} ({rank:.2f})", align=side)


def _measure(difference: float, num_rows: int) -> Iterator[Mark]:
    """How long the critical difference is, above the axis."""
    begin = float(num_rows)
    end = begin - difference
    yield Stroke(x=[begin, end], y=[CD_HEIGHT] * 2, width=1.2)
    for place in (begin, end):
        yield Stroke(x=[place] * 2, y=[CD_HEIGHT - TICK / 2, CD_HEIGHT + TICK / 2], width=1.2)
    yield Text(x=(begin + end) / 2, y=CD_HEIGHT, text=f"CD = {difference:.2f}")
