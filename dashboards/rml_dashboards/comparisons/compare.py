"""Rows of a filled table against one of them: paired in each column, and over all columns."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from rml_dashboards.comparisons.cells import (
    column_means,
    common_columns,
    left_out,
    scored_runs,
    scores_by_row,
)
from rml_dashboards.errors import DashboardError
from rml_dashboards.statistics.aggregates import (
    aggregate,
    probability_of_improvement,
    probability_of_improvement_interval,
)
from rml_dashboards.statistics.paired import paired_differences
from rml_dashboards.statistics.ranking import Ranking, rank_rows
from rml_dashboards.statistics.rounding import NoiseFloor, measured_floor
from rml_dashboards.tables.entries import Table

OVERALL_COLUMNS = [
    *("row", "num_columns", "n", "iqm", "iqm_low", "iqm_high"),
    *("improvement", "improvement_low", "improvement_high"),
]


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """What the seeds of a table tell about its rows against one of them."""

    table: Table
    against: str
    differences: pd.DataFrame
    """See `paired_differences`; one line per row and column that shares runs with the named row,
    and `below_floor`: whether the difference is no larger than what rounding alone does."""
    overall: pd.DataFrame
    """One line per row, over the columns of the table's metric: OVERALL_COLUMNS. `improvement` is
    that over the named row (NaN for itself). Empty where there are fewer than two such columns."""
    ranking: Ranking | None
    """None where ranks are not defined; a note says why."""
    floor: NoiseFloor | None
    notes: tuple[str, ...]
    """What is left out, and why."""


def compare_rows(table: Table, against: str, floor: NoiseFloor | None = None) -> Comparison:
    """Compare every row with a named one. A column's scores are compared within one protocol only:
    that of the named row.

    Args:
        floor: what rounding alone does; default: what the study's own repeats say of it.
    Raises:
        DashboardError: no row of this name has a scored run.
    """
    runs = scored_runs(table)
    differences, notes = row_differences(table, against, floor)
    columns = common_columns(table)
    overall = _overall(runs, columns, against, table.spec.higher_is_better)
    if len(columns) > 1:
        notes += [f"Left out over all columns: {text}." for text in left_out(table)]
    ranking, why = _ranking(table)
    return Comparison(
        table=table,
        against=against,
        differences=differences,
        overall=overall,
        ranking=ranking,
        floor=floor or table.floor,
        notes=(*notes, *why),
    )


def row_differences(
    table: Table, against: str, floor: NoiseFloor | None = None
) -> tuple[pd.DataFrame, list[str]]:
    """`Comparison.differences`, and what is left out of them.

    Args:
        floor: as of `compare_rows`.
    Raises:
        DashboardError: no row of this name has a scored run.
    """
    kept, notes = comparable_runs(table, against)
    better = {column.label: table.spec.is_higher_better(column) for column in table.spec.columns}
    differences = paired_differences(kept, against, higher_is_better=better)
    floor = floor or table.floor
    hidden = [
        floor is not None and floor.hides(mean, column)
        for mean, column in zip(differences["mean"], differences["column"], strict=True)
    ]
    differences["below_floor"] = np.asarray(hidden, dtype=bool)
    return differences, notes + unpaired(kept, differences, against)


def comparable_runs(
    table: Table, against: str, row: str | None = None, column: str | None = None
) -> tuple[pd.DataFrame, list[str]]:
    """Scored runs that may be compared with those of a named row, and what is left out.

    Args:
        row: only the runs of this one and of `against`.
        column: only these.
    Raises:
        DashboardError: no run has a score, or those of the row cannot be paired.
    """
    runs = scored_runs(table)
    if runs.empty:
        raise DashboardError(
            f"table {table.spec.name}: no run has a score yet, so nothing can be compared with "
            f"{against!r}"
        )
    if row is not None:
        runs = runs[runs["row"].isin([row, against])]
    if column is not None:
        runs = runs[runs["column"].eq(column)]
    kept, notes = _of_one_protocol(runs, against)
    kept, unknown = _of_known_split(kept, against)
    return kept, notes + unknown


def noise_floor(table: Table, text: str) -> NoiseFloor:
    """What a person states of rounding: a number in the units of the table, or `ROW=REPEAT`, two
    rows of the table that differ in nothing else.

    Raises:
        DashboardError: it is neither, or the rows share no run.
    """
    try:
        value = float(text)
    except ValueError:
        pass
    else:
        if value >= 0 and np.isfinite(value):
            return NoiseFloor(value=value, source="as stated")
    labels = {row.label for row in table.spec.rows}
    for place in (i for i, letter in enumerate(text) if letter == "="):
        row = text[:place]
        repeat = text[place + 1 :]
        if row in labels and repeat in labels:
            return measured_floor(scored_runs(table), row, repeat)
    raise DashboardError(
        f"noise floor {text!r}: expected a number in the units of the table, zero or more, or "
        f"ROW=REPEAT with two of its rows: {', '.join(sorted(labels))}"
    )


def _of_one_protocol(runs: pd.DataFrame, against: str) -> tuple[pd.DataFrame, list[str]]:
    """Runs that may be compared with the named row's, and what is left out."""
    others = runs[runs["row"] == against].groupby("column")["protocol"].unique()
    if others.empty:
        return runs, []  # no such row: who pairs them says which there are
    notes = []
    kept: list[pd.Series] = []
    for column, protocols in others.items():
        here = runs["column"] == column
        if len(protocols) > 1:
            notes.append(
                f"Column {column}: {against} was scored under several protocols; nothing is "
                "compared."
            )
            continue
        same = here & runs["protocol"].isin(protocols)
        kept.append(same)
        left_out = sorted(set(runs.loc[here & ~same, "row"]))
        if left_out:
            notes.append(
                f"Column {column}: scores of {', '.join(left_out)} under another protocol than "
                f"that of {against} are left out."
            )
    unknown = [str(column) for column in dict.fromkeys(runs["column"]) if column not in others]
    if unknown:
        notes.append(f"No score of {against}, so nothing is compared: column {', '.join(unknown)}.")
    is_own = runs["row"] == against  # always kept, so that the row is known
    return runs[np.any([*kept, is_own], axis=0)], notes


def _of_known_split(runs: pd.DataFrame, against: str) -> tuple[pd.DataFrame, list[str]]:
    """Runs without those of other tools that do not say on which split they were made."""
    unknown = runs["imported"].ne("") & runs["split"].eq("")
    rows = sorted(set(runs.loc[unknown, "row"]))
    if not rows:
        return runs, []
    if against in rows:
        raise DashboardError(
            f"paired against {against!r}: its runs are imported and state no split, so which runs "
            "share one is not known; give their file a column `split`"
        )
    note = f"Imported runs of {', '.join(rows)} state no split, so they are paired with none."
    return runs[~unknown], [note]


def unpaired(runs: pd.DataFrame, differences: pd.DataFrame, against: str) -> list[str]:
    """Rows that have scores beside the named row's, but of other splits or seeds."""
    there = {
        (row, column)
        for row, column in zip(runs["row"], runs["column"], strict=True)
        if row != against
    }
    there -= set(zip(differences["row"], differences["column"], strict=True))
    return [
        f"Row {row}, column {column}: no run of a split and seed that {against} has, too."
        for row, column in sorted(there)
    ]


def _overall(
    runs: pd.DataFrame, columns: list[str], against: str, higher_is_better: bool
) -> pd.DataFrame:
    if len(columns) < 2:
        return pd.DataFrame(columns=OVERALL_COLUMNS)
    scores = scores_by_row(runs, columns)
    sign = 1.0 if higher_is_better else -1.0
    lines = []
    for row, own in scores.items():
        line: dict[str, object] = {"row": row, **aggregate(own)}
        if row != against and against in scores:
            mine = [sign * array for array in own]
            theirs = [sign * array for array in scores[against]]
            low, high = probability_of_improvement_interval(mine, theirs)
            line["improvement"] = probability_of_improvement(mine, theirs)
            line |= {"improvement_low": low, "improvement_high": high}
        lines.append(line)
    return pd.DataFrame(lines, columns=OVERALL_COLUMNS)


def _ranking(table: Table) -> tuple[Ranking | None, list[str]]:
    means, gaps = column_means(table)
    try:
        ranking = rank_rows(means, higher_is_better=table.spec.higher_is_better)
    except DashboardError as error:
        return None, [f"No ranks: {error}"]
    return ranking, [f"Left out of the ranks: {text}." for text in gaps]
