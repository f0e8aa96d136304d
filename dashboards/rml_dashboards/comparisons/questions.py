"""What a study asks: families of paired differences, each tested and corrected together."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from rml_dashboards.comparisons.cells import scored_runs
from rml_dashboards.comparisons.compare import comparable_runs
from rml_dashboards.contract.planned import PlannedDifference, PlannedQuestion
from rml_dashboards.statistics.paired import mean_line, paired_runs
from rml_dashboards.statistics.power import seeds_to_tell
from rml_dashboards.statistics.significance import holm, sign_flip_p, stars
from rml_dashboards.statistics.ties import in_steps
from rml_dashboards.tables.entries import Table

COLUMNS = [
    *("question", "row", "against", "column", "beyond", "n", "n_expected", "mean", "std"),
    *("ci_low", "ci_high", "above", "p_permutation", "p_holm", "stars", "seeds_to_tell_1"),
    *("points", "note"),
]
PAIR = ["split", "seed"]


def answers(table: Table) -> pd.DataFrame:
    """One line for each difference and column that the study asks about: COLUMNS.

    `mean`, `std` (ddof 1), `ci_…` (95 % t interval) and `points` (by seed) are in the units of the
    table; `above` counts pairs whose difference is above zero. `p_holm` is corrected for all lines
    of the question: one that cannot be tested yet counts, too. A difference whose rows share no run
    has n = 0. `note` says what was left out of the comparison, such as scores of another protocol.

    Raises:
        DashboardError: scores of a row cannot be paired, see `comparable_runs`.
    """
    lines = [line for question in table.spec.questions for line in _family(table, question)]
    return pd.DataFrame(lines, columns=COLUMNS)


def _family(table: Table, question: PlannedQuestion) -> list[dict[str, object]]:
    labels = question.columns
    if labels is None:
        every = (column.label for column in table.spec.columns)
        labels = tuple(label for label in every if label != question.beyond)
    seeds = question.seeds or {trace.seed for one in table.cells() for trace in one.traces}
    lines = [
        _line(table, question, difference, column, len(seeds))
        for difference in question.differences
        for column in labels
    ]
    given = np.asarray([line["p_permutation"] for line in lines], dtype=np.float64)
    corrected = holm(np.where(np.isnan(given), 1.0, given))
    for line, p, is_untested in zip(lines, corrected, np.isnan(given), strict=True):
        line["p_holm"] = np.nan if is_untested else float(p)
        line["stars"] = "" if is_untested else stars(float(p))
    return lines


def _line(
    table: Table,
    question: PlannedQuestion,
    difference: PlannedDifference,
    column: str,
    num_expected: int,
) -> dict[str, object]:
    pairs, notes = _pairs(table, difference, column, question.seeds)
    if question.beyond:
        there, more = _pairs(table, difference, question.beyond, question.seeds)
        notes += [note for note in more if note not in notes]
        both = pairs.merge(there, on=PAIR, suffixes=("", "_there"))
        pairs = both.assign(difference=both["difference"] - both["difference_there"])
    points = pairs.sort_values(["seed", "split"])["difference"].to_numpy(dtype=np.float64)
    line: dict[str, object] = {
        "question": question.title,
        "row": difference.row,
        "against": difference.against,
        "column": column,
        "beyond": question.beyond,
        "n_expected": num_expected,
        "above": int((in_steps(points) > 0).sum()),
        "p_permutation": sign_flip_p(points),
        "points": tuple(float(point) for point in points),
        "note": " ".join(notes),
    }
    if not len(points):
        nothing = dict.fromkeys(("mean", "std", "ci_low", "ci_high"), np.nan)
        return {**line, "n": 0, **nothing, "seeds_to_tell_1": None}
    known = mean_line(points)
    return {**line, **known, "seeds_to_tell_1": seeds_to_tell(known["std"], 1.0, paired=True)}


def _pairs(
    table: Table, difference: PlannedDifference, column: str, seeds: tuple[int, ...] | None
) -> tuple[pd.DataFrame, list[str]]:
    """Split, seed and difference of the runs that both rows have in a column, and what was left
    out."""
    runs = scored_runs(table)
    rows = set(_labels(runs, column))
    if not {difference.row, difference.against} <= rows:
        return pd.DataFrame(columns=[*PAIR, "difference"]), []
    own, notes = comparable_runs(table, difference.against, difference.row, column)
    pairs = paired_runs(own, difference.against)
    if seeds is not None:
        pairs = pairs[pairs["seed"].isin(seeds)]
    return pairs[[*PAIR, "difference"]], notes


def _labels(runs: pd.DataFrame, column: str) -> Iterator[str]:
    if len(runs):
        yield from runs.loc[runs["column"].eq(column), "row"]
