"""How a score follows from what was given: the gain over a row against the share of labels, and the
score against the time that its runs took."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from rml_dashboards.comparisons.compare import compare_rows
from rml_dashboards.diagrams.diagram import Diagram, Material, entries_of
from rml_dashboards.errors import DashboardError
from rml_dashboards.figures.style import LINE_STYLES, framed

UNITS = (("hours", 1), ("minutes", 60), ("seconds", 3600))
"""Of an axis of time, and how many an hour has; the first of which there are two or more."""
COST_COLUMNS = ["row", "column", "hours", "mean", "std", "n"]


def gain(material: Material) -> Diagram:
    """Paired differences from `against`, one point per row and column.

    Raises:
        DashboardError: columns do not differ in their share of labels, or no run can be paired.
    """
    shares = material.labelled_share
    if len(set(shares.values())) < 2:
        raise DashboardError(
            f"{material.title}: the columns do not differ in their share of labelled images"
        )
    if not material.against:
        raise DashboardError(
            f"{material.title}: no row is trained by `supervised`; say with `against` which one "
            "gains are counted from"
        )
    comparison = compare_rows(material.table, material.against)
    frame = comparison.differences
    frame = frame[frame["column"].isin(shares)]
    if frame.empty:
        raise DashboardError(f"{material.title}: no run can be paired with {material.against}")
    frame = frame.assign(labelled_share=frame["column"].map(shares).astype(float))
    kept = ["row", "column", "labelled_share", "n", "mean", "std", "ci_low", "ci_high"]
    return Diagram(
        draw=lambda: _draw_gain(material, frame),
        values=frame[kept].sort_values(["row", "labelled_share"]).reset_index(drop=True),
        says=(
            f"Mean difference from {material.against} over the splits and seeds that both have; "
            "line: its 95 % t interval, none for one pair."
        ),
        notes=comparison.notes,
    )


def _draw_gain(material: Material, frame: pd.DataFrame) -> Figure:
    rows = [row for row in material.rows() if row in set(frame["row"])]
    figure, (panel,) = framed(1, material.title, material.legend(rows))
    shares = sorted(set(frame["labelled_share"]))
    for place, row in enumerate(rows):
        own = frame[frame["row"] == row].sort_values("labelled_share")
        nudge = 1 + 0.02 * (place - (len(rows) - 1) / 2)  # intervals do not hide each other
        mean = own["mean"].to_numpy(dtype=np.float64)
        half = own["ci_high"].to_numpy(dtype=np.float64) - mean
        panel.errorbar(
            own["labelled_share"].to_numpy(dtype=np.float64) * nudge,
            mean,
            yerr=np.nan_to_num(half),
            linestyle=LINE_STYLES[place % len(LINE_STYLES)],
            elinewidth=0.8,
            **material.look(row),
        )
    panel.axhline(0, color="black", linewidth=0.8)
    panel.set_xscale("log")
    panel.xaxis.set_major_locator(FixedLocator(shares))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(FuncFormatter(lambda share, _: share_text(share)))
    panel.set_xlabel("share of labelled images")
    panel.set_ylabel(f"gain over {material.against}\n({material.unit(frame['column'].iloc[0])})")
    return figure


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
        draw=lambda: _draw_cost(material, frame),
        values=frame,
        says=(
            "Mean score against mean wall-clock time of a run, over all its attempts; line: ± "
            "sample standard deviation of the score."
        ),
    )


def _draw_cost(material: Material, frame: pd.DataFrame) -> Figure:
    rows = [row for row in material.rows() if row in set(frame["row"])]
    columns = [column for column in material.columns() if column in set(frame["column"])]
    longest = float(frame["hours"].max())
    unit, per_hour = next((unit, per) for unit, per in UNITS if longest * per >= 2 or per == 3600)
    figure, axes = framed(len(columns), material.title, material.legend(rows))
    for panel, column in zip(axes, columns, strict=True):
        own = frame[frame["column"] == column]
        for row in rows:
            of_row = own[own["row"] == row]
            panel.errorbar(
                of_row["hours"] * per_hour,
                of_row["mean"],
                yerr=of_row["std"].astype(np.float64),
                linestyle="",
                **material.look(row),
            )
        if len(columns) > 1:
            panel.set_title(column)
        panel.set_xlabel(f"{unit} of a run")
        panel.xaxis.set_major_locator(MaxNLocator(5))
        panel.margins(0.1)
    axes[0].set_ylabel(material.unit(columns[0]))
    return figure
