"""Statistics of every cell of a filled table, and of its rows over several columns."""

import numpy as np
import pandas as pd

from rml_dashboards.statistics.aggregates import performance_profile
from rml_dashboards.statistics.resampling import bootstrap_interval, strata_of
from rml_dashboards.tables.entries import Table
from rml_dashboards.tables.filling import SCORED

CELL_COLUMNS = [
    *("row", "column", "n", "n_expected", "mean", "std", "ci_low", "ci_high"),
    *("boot_low", "boot_high", "protocol", "points"),
]
PROFILE_COLUMNS = ["row", "threshold", "share", "low", "high"]
MAX_THRESHOLDS = 101


def scored_runs(table: Table) -> pd.DataFrame:
    """Lines of `table.values` that have a score."""
    values = table.values
    return values[values["state"] == "done"] if len(values) else values


def cell_statistics(table: Table) -> pd.DataFrame:
    """One line per cell that has a mean: CELL_COLUMNS, in the units of the table.

    `ci_…` is the 95 % t interval, `boot_…` the 95 % bootstrap interval, stratified by split;
    `points` are the scores by seed. Cells whose seeds were scored under several protocols have no
    mean and are left out.
    """
    lines = []
    runs = dict(iter(scored_runs(table).groupby(["row", "column"], sort=False)))
    for entry in table.cells():
        if entry.status not in SCORED:
            continue
        own = runs[entry.row, entry.column]
        points = own["value"].to_numpy(dtype=np.float64)
        boot_low, boot_high = bootstrap_interval(strata_of(points, list(own["split"])))
        numbers = (entry.n, entry.n_expected, entry.mean, entry.std, entry.ci_low, entry.ci_high)
        protocol = " ".join(entry.protocols)
        line = (entry.row, entry.column, *numbers, boot_low, boot_high, protocol, tuple(points))
        lines.append(line)
    return pd.DataFrame(lines, columns=CELL_COLUMNS)


def common_columns(table: Table) -> list[str]:
    """Labels of the columns that may be looked at together: those of the table's own metric, each
    scored under one protocol."""
    runs = scored_runs(table)
    if runs.empty:
        return []
    protocols = runs.groupby("column")["protocol"].nunique()
    return [
        column.label
        for column in table.spec.columns
        if table.spec.metric_of(column) == table.spec.metric and protocols.get(column.label) == 1
    ]


def mixed_columns(table: Table) -> list[str]:
    """Columns of the table's metric that are no common columns, though they have scores, with the
    reason."""
    scored = set(scored_runs(table)["column"]) if len(table.values) else set()
    return [
        f"column {column.label} (scores under several protocols)"
        for column in table.spec.columns
        if table.spec.metric_of(column) == table.spec.metric
        and column.label in scored - set(common_columns(table))
    ]


def left_out(table: Table) -> list[str]:
    """What has scores and is not looked at over the common columns, with the reason: columns under
    several protocols, and rows that lack a common column."""
    texts = mixed_columns(table)
    common = common_columns(table)
    by_gap = dict[tuple[str, ...], list[str]]()
    if common:
        for row, own in scored_runs(table).groupby("row", sort=False):
            there = set(own["column"])
            gap = tuple(column for column in common if column not in there)
            by_gap.setdefault(gap, []).append(str(row))
    texts += [
        f"{', '.join(rows)} (no score in {', '.join(gap)})" for gap, rows in by_gap.items() if gap
    ]
    return texts


def column_means(table: Table) -> tuple[pd.DataFrame, list[str]]:
    """Mean of each row (index) in each common column, NaN where it has no score; and the columns
    with such a gap, which have no ranks, with the rows that lack them."""
    runs = scored_runs(table)
    some = runs[runs["column"].isin(common_columns(table))] if len(runs) else runs
    if some.empty:
        return pd.DataFrame(), []
    means = some.pivot_table(index="row", columns="column", values="value", sort=False)
    texts = [
        f"column {column} (no score of {', '.join(map(str, own.index[own.isna()]))})"
        for column, own in means.items()
        if own.isna().any()
    ]
    return means, texts


def performance_profiles(table: Table, max_thresholds: int = MAX_THRESHOLDS) -> pd.DataFrame:
    """Share of each row's runs above each threshold with its 95 % bootstrap interval, over the
    common columns: PROFILE_COLUMNS. Rows that lack one of these columns are left out: `left_out`.

    Args:
        max_thresholds: where there are more different scores, so many thresholds are spread evenly
            over them; each takes a bootstrap per row.
    """
    columns = common_columns(table)
    runs = scored_runs(table)
    if not columns:
        return pd.DataFrame(columns=PROFILE_COLUMNS)
    runs = runs[runs["column"].isin(columns)]
    thresholds = np.unique(runs["value"].to_numpy(dtype=np.float64))
    if len(thresholds) > max_thresholds:
        thresholds = np.linspace(thresholds[0], thresholds[-1], max_thresholds)
    profiles = [
        performance_profile(scores, thresholds).assign(row=row)
        for row, scores in scores_by_row(runs, columns).items()
    ]
    if not profiles:
        return pd.DataFrame(columns=PROFILE_COLUMNS)
    return pd.concat(profiles, ignore_index=True)[PROFILE_COLUMNS]


def scores_by_row(runs: pd.DataFrame, columns: list[str]) -> dict[str, list[np.ndarray]]:
    """Row → scores of its runs, one array per column; only rows that have every column."""
    found = {}
    for row, own in runs.groupby("row", sort=False):
        arrays = [
            own.loc[own["column"] == column, "value"].to_numpy(dtype=np.float64)
            for column in columns
        ]
        if all(len(array) for array in arrays):
            found[str(row)] = arrays
    return found
