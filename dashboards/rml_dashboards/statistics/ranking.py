"""Many rows on many columns: mean ranks, Friedman's test and Nemenyi's critical difference.

Demšar, "Statistical Comparisons of Classifiers over Multiple Data Sets" (JMLR 2006). A column is
one data set; its scores are the rows' means over seeds.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from rml_dashboards.errors import DashboardError
from rml_dashboards.statistics.ties import in_steps

ALPHA = 0.05


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """What a critical-difference diagram shows."""

    mean_ranks: pd.Series
    """Row → mean rank over columns, best (lowest) first; equal scores share their ranks."""
    num_columns: int
    friedman_p: float
    """That all rows rank alike; NaN for two rows, where Friedman's test is not defined."""
    critical_difference: float
    """Mean ranks closer than this are not told apart."""
    groups: tuple[tuple[str, ...], ...]
    """Largest sets of rows, in order of rank, in which none is told apart from another."""


def rank_rows(means: pd.DataFrame, *, higher_is_better: bool = True) -> Ranking:
    """Ranks of rows over the columns that all of them have.

    Args:
        means: score of each row (index) on each column; columns with a gap are left out.
        higher_is_better: whether rank 1 is the highest score.
    Raises:
        DashboardError: fewer than two rows, or fewer than two columns without a gap.
    """
    whole = means.dropna(axis="columns")
    num_rows, num_columns = whole.shape
    if num_rows < 2 or num_columns < 2:
        raise DashboardError(
            f"ranks need at least two rows and two columns that all rows have; here are {num_rows} "
            f"and {num_columns}. Leave rows out that have gaps."
        )
    scores = in_steps(whole.to_numpy(dtype=np.float64))
    ranks = stats.rankdata(-scores if higher_is_better else scores, axis=0)
    mean_ranks = pd.Series(ranks.mean(axis=1), index=whole.index).sort_values(kind="stable")
    difference = critical_difference(num_rows, num_columns)
    return Ranking(
        mean_ranks=mean_ranks,
        num_columns=num_columns,
        friedman_p=_friedman(scores),
        critical_difference=difference,
        groups=_groups(mean_ranks, difference),
    )


def critical_difference(num_rows: int, num_columns: int, alpha: float = ALPHA) -> float:
    """q · √(k(k + 1) / 6N) for k rows and N columns; q is the studentised range over √2."""
    q = stats.studentized_range.ppf(1 - alpha, num_rows, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(num_rows * (num_rows + 1) / (6 * num_columns)))


def _friedman(scores: npt.NDArray[np.float64]) -> float:
    if len(scores) < 3:
        return np.nan
    if (scores == scores[0]).all():
        return 1.0
    return float(stats.friedmanchisquare(*scores).pvalue)


def _groups(mean_ranks: pd.Series, difference: float) -> tuple[tuple[str, ...], ...]:
    labels = [str(label) for label in mean_ranks.index]
    ranks = mean_ranks.to_numpy(dtype=np.float64)
    found: list[tuple[str, ...]] = []
    last_end = 0
    for begin in range(len(ranks)):
        end = int(np.searchsorted(ranks, ranks[begin] + difference, side="left"))
        if end > last_end and end - begin > 1:
            found.append(tuple(labels[begin:end]))
            last_end = end
    return tuple(found)
