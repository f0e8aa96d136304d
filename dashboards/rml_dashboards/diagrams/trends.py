"""How a score follows from what was given: the gain over a row against the share of labels, and the
score against the time that its runs took."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from rml_dashboards.comparisons.compare import comparable_runs, unpaired
from rml_dashboards.diagrams.diagram import Diagram, Material, entries_of
from rml_dashboards.errors import DashboardError
from rml_dashboards.figures.chart import Axis, Chart, Mark, Panel, Points, Zero, as_values
from rml_dashboards.statistics.paired import paired_means

UNITS = (("hours", 1), ("minutes", 60), ("seconds", 3600))
"""Of an axis of time, and how many an hour has; the first of which there are two or more."""
MOST_NUDGE = 0.24
"""How far apart the points of one share of labels stand at most, as a part of it."""
GAIN_COLUMNS = [
    "row",
    "column",
    "metric",
    "labelled_share",
    "n",
    "mean",
    "std",
    "ci_low",
    "ci_high",
]
GAIN_ORDER = ["metric", "row", "labelled_share"]
COST_COLUMNS = ["row", "column", "hours", "mean", "std", "n"]


def gain(material: Material) -> Diagram:
    """Paired differences from `against`, one point per row and column; a line joins columns that
    show the same metric.

    Raises:
        DashboardError: columns of one metric do not differ in their share of labels, or no run can
            be paired.
    """
    shares = _compared_shares(material)
    if not shares:
        raise DashboardError(
            f"{material.title}: the columns do not differ in their share of labelled images"
        )
    if not material.against:
        raise DashboardError(
            f"{material.title}: no row is trained by `supervised`; say with `against` which one "
            "gains are counted from"
        )
    runs, notes = comparable_runs(material.table, material.against)
    frame = paired_means(runs, material.against)
    notes += unpaired(runs, frame, material.against)
    frame = frame[frame["column"].isin(shares)]
    if frame.empty:
        raise DashboardError(f"{material.title}: no run can be paired with {material.against}")
    frame = frame.assign(
        labelled_share=frame["column"].map(shares).astype(float),
        metric=frame["column"].map(material.metric),
    )
    return Diagram(
        chart=_gain_chart(material, frame),
        values=frame[GAIN_COLUMNS].sort_values(GAIN_ORDER).reset_index(drop=True),
        says=(
            f"Mean difference from {material.against} over the splits and seeds that both have; "
            "line: its 95 % t interval, none for one pair."
        ),
        notes=tuple(notes),
    )


def _compared_shares(material: Material) -> dict[str, float]:
    """Column → share of labels, of metrics whose columns differ in it."""
    by_metric: dict[str, set[float]] = {}
    for column, share in material.labelled_share.items():
        by_metric.setdefault(material.metric(column), set()).add(share)
    return {
        column: share
        for column, share in material.labelled_share.items()
        if len(by_metric[material.metric(column)]) > 1
    }


def _gain_chart(material: Material, frame: pd.DataFrame) -> Chart:
    """One panel per metric: the gains of two are not of one kind."""
    rows = [row for row in material.rows() if row in set(frame["row"])]
    columns = [column for column in material.columns() if column in set(frame["column"])]
    units = {material.metric(column): material.unit(column) for column in columns}
    shares = sorted(set(frame["labelled_share"]))
    ticks = tuple((share, share_text(share)) for share in shares)
    panels = tuple(
        Panel(
            marks=tuple(_gain_marks(material, frame[frame["metric"] == metric], rows)),
            x=Axis(label="share of labelled images", is_log=True, ticks=ticks),
            title=unit if len(units) > 1 else "",
        )
        for metric, unit in units.items()
    )
    unit = f"\n{next(iter(units.values()))}" if len(units) == 1 else ""
    return Chart(
        title=material.title,
        panels=panels,
        y=Axis(label=f"gain over {material.against}{unit}"),
        legend=material.legend(rows, is_joined=True),
    )


def _gain_marks(material: Material, frame: pd.DataFrame, rows: list[str]) -> Iterator[Mark]:
    yield Zero()
    for place, row in enumerate(rows):
        own = frame[frame["row"] == row].sort_values("labelled_share")
        if own.empty:
            continue
        # intervals do not hide each other
        nudge = 1 + min(0.02, MOST_NUDGE / len(rows)) * (place - (len(rows) - 1) / 2)
        mean = as_values(own["mean"])
        yield Points(
            row=row,
            x=as_values(own["labelled_share"]) * nudge,
            y=mean,
            y_error=as_values(own["ci_high"]) - mean,
            look=material.look(row, is_joined=True),
            told=tuple(own["column"]),
        )


def share_text(share: float) -> str:
    """`1/8` where the share is close to one over a whole number, else per cent."""
    whole = round(1 / share) if share > 0 else 0
    if whole >= 1 and abs(1 / whole - share) < 0.01 * share:
        return f"1/{whole}" if whole > 1 else "all"
    return f"{100 * share:.2g} %"


def cost(material: Material) -> Diagram:
    """Score against wall-clock hours of a run, one point per row and column.

    Raises:
        DashboardError: no scored run has recorded how long it took.
    """
    values = material.table.values
    done = values[values["state"] == "done"] if len(values) else values
    means: dict[tuple[str, str], float] = {}
    if len(done):
        timed = done.assign(hours=done["run_id"].map(dict(material.hours)).astype(np.float64))
        by_cell = timed.groupby(["row", "column"], as_index=False)["hours"].mean()
        cells = zip(by_cell["row"], by_cell["column"], strict=True)
        means = dict(zip(cells, by_cell["hours"], strict=True))
    lines = [
        (row, column, means[row, column], mean, std, n)
        for row, column, mean, std, n in entries_of(material.table)
        if not np.isnan(means.get((row, column), np.nan))
    ]
    if not lines:
        raise DashboardError(f"{material.title}: no scored run has recorded how long it took")
    frame = pd.DataFrame(lines, columns=COST_COLUMNS)
    return Diagram(
        chart=_cost_chart(material, frame),
        values=frame,
        says=(
            "Mean score against mean wall-clock time of a run, over all its attempts; line: ± "
            "sample standard deviation of the score."
        ),
    )


def _cost_chart(material: Material, frame: pd.DataFrame) -> Chart:
    rows = [row for row in material.rows() if row in set(frame["row"])]
    columns = [column for column in material.columns() if column in set(frame["column"])]
    longest = float(frame["hours"].max())
    unit, per_hour = next((unit, per) for unit, per in UNITS if longest * per >= 2 or per == 3600)
    x = Axis(label=f"{unit} of a run", most_ticks=5, margin=0.1)
    units = [material.unit(column) for column in columns]
    is_alike = len(set(units)) == 1
    panels = []
    for column, of_column in zip(columns, units, strict=True):
        own = frame[frame["column"] == column]
        by_row = {row: own[own["row"] == row] for row in rows}
        marks = tuple(
            Points(
                row=row,
                x=as_values(of_row["hours"]) * per_hour,
                y=as_values(of_row["mean"]),
                y_error=as_values(of_row["std"]),
                look=material.look(row),
            )
            for row, of_row in by_row.items()
        )
        title = column if is_alike else f"{column}: {of_column}"
        panels.append(Panel(marks=marks, x=x, title=title if len(columns) > 1 else ""))
    return Chart(
        title=material.title,
        panels=tuple(panels),
        y=Axis(label=units[0] if is_alike else "score", margin=0.1),
        legend=material.legend(rows),
    )
