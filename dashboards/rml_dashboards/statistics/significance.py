"""Tests of paired differences that are exact for the few seeds that studies have, and the
correction for many of them."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats

from rml_dashboards.statistics.resampling import NUM_RESAMPLES, generator
from rml_dashboards.statistics.ties import ROUNDING, in_steps

Floats = npt.NDArray[np.float64]

MIN_TESTED = 5
"""With fewer pairs no two-sided test of signs can fall below 0.125, whatever the scores: raw points
say more."""
MAX_EXACT = 16
"""Pairs up to which all 2ⁿ signs are tried; above, NUM_RESAMPLES of them are drawn."""
STARS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))


def sign_flip_p(differences: Sequence[float] | Floats) -> float:
    """Two-sided p value of the mean difference when every sign is as likely as the other.

    The share of all 2ⁿ assignments of signs whose mean is at least as far from zero as the one
    found; NaN for fewer than MIN_TESTED pairs. What is equal up to ROUNDING is equal.
    """
    numbers = in_steps(differences)
    if len(numbers) < MIN_TESTED:
        return np.nan
    return _flipped_p(numbers)


def wilcoxon_p(differences: Sequence[float] | Floats) -> float:
    """Two-sided p value of Wilcoxon's signed-rank test; NaN for fewer than MIN_TESTED pairs.

    Zero differences are ranked and then left out (Pratt). Where none are zero and no two sizes are
    equal, the exact distribution is scipy's; otherwise all signs are tried, as in `sign_flip_p`.
    What is equal up to ROUNDING is equal.
    """
    numbers = in_steps(differences)
    if len(numbers) < MIN_TESTED:
        return np.nan
    sizes = np.abs(numbers)
    if sizes.all() and len(np.unique(sizes)) == len(sizes):
        return float(stats.wilcoxon(numbers, method="exact").pvalue)
    # The p value of scipy's own permutations, which rank every resample anew and take minutes.
    return _flipped_p(np.sign(numbers) * stats.rankdata(sizes))


def is_told_apart(one: tuple[float, float, int], other: tuple[float, float, int]) -> bool:
    """Whether the 95 % interval of the difference of two means leaves out zero (Welch's t).

    Args:
        one: mean, sample standard deviation and number of runs. With fewer than two runs the spread
            is not known, and nothing is told apart.
    """
    if min(one[2], other[2]) < 2:
        return False
    if max(one[1], other[1]) <= ROUNDING:
        return abs(one[0] - other[0]) > ROUNDING
    return bool(stats.ttest_ind_from_stats(*one, *other, equal_var=False).pvalue < 0.05)


def holm(p_values: Sequence[float] | Floats) -> Floats:
    """p values corrected for their number (Holm 1979): the family-wise error stays below the level.

    NaN stays NaN and does not count: nothing was tested there.
    """
    given = np.asarray(p_values, dtype=np.float64)
    tested = np.flatnonzero(~np.isnan(given))
    order = tested[np.argsort(given[tested], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    corrected = np.full(given.shape, np.nan)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(factors * given[order]))
    return corrected


def stars(p_value: float) -> str:
    """`*` below 0.05, `**` below 0.01, `***` below 0.001; nothing where nothing was tested."""
    return next((text for limit, text in STARS if p_value < limit), "")


def _flipped_p(numbers: Floats) -> float:
    """Two-sided p value of a sum when every sign is as likely as the other."""
    if not numbers.any():
        return 1.0
    found = stats.permutation_test(
        (numbers,),
        _sum,
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf if len(numbers) <= MAX_EXACT else NUM_RESAMPLES,
        batch=4096,
        rng=generator(),
    )
    return float(found.pvalue)


def _sum(steps: Floats, axis: int = -1) -> Floats:
    """As far from zero as the mean is, and exact, for these are whole numbers or ranks."""
    return np.asarray(np.sum(steps, axis=axis))
