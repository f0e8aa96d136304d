"""How many seeds tell a difference of a given size, by the power of the t test."""

import numpy as np
from scipy import integrate, stats

ALPHA = 0.05
POWER = 0.8
MAX_SEEDS = 8192
NUM_NODES = 200
"""Of the quadrature: it agrees with scipy's noncentral t to 3e-6 where that has a number."""


def power_of(num_seeds: int, spread: float, difference: float, *, paired: bool) -> float:
    """How likely a two-sided t test at ALPHA finds a true difference of two means.

    The noncentral t distribution, as the mean over how wrong the test can take the spread: scipy's
    own (`nct`, 1.17) is not a number for many large differences.

    Args:
        num_seeds: of each row.
        spread: standard deviation of one row's scores; with `paired`, of the differences.
        paired: both rows have the same splits and seeds, and differences are tested.
    """
    if spread == 0:
        return 1.0
    freedom = num_seeds - 1 if paired else 2 * (num_seeds - 1)
    shift = difference / spread * np.sqrt(num_seeds if paired else num_seeds / 2)
    limit = stats.t.ppf(1 - ALPHA / 2, freedom)

    def found(quantile: np.ndarray) -> np.ndarray:
        seen = np.sqrt(stats.chi2.ppf(quantile, freedom) / freedom)  # its spread / the true one
        above = stats.norm.sf(limit * seen - shift)
        below = stats.norm.cdf(-limit * seen - shift)
        return np.asarray(above + below)

    return float(integrate.fixed_quad(found, 0.0, 1.0, n=NUM_NODES)[0])


def seeds_to_tell(spread: float, difference: float = 1.0, *, paired: bool) -> int | None:
    """Fewest seeds of each row with which a true difference is found with a likelihood of POWER;
    None where MAX_SEEDS are not enough or the spread is not known."""
    if not np.isfinite(spread) or difference <= 0:
        return None

    def tells(num_seeds: int) -> bool:
        return power_of(num_seeds, spread, difference, paired=paired) >= POWER

    few = 1
    enough = 2
    while not tells(enough):
        if enough >= MAX_SEEDS:
            return None
        few = enough
        enough *= 2
    while enough - few > 1:  # the power grows with the seeds
        middle = (few + enough) // 2
        if tells(middle):
            enough = middle
        else:
            few = middle
    return enough


def power_line(spread: float, difference: float = 1.0, *, paired: bool, unit: str = "point") -> str:
    """One sentence: "With this spread (sd 0.8), 12 seeds tell 1 point apart (…)."."""
    seeds = seeds_to_tell(spread, difference, paired=paired)
    plural = "" if difference == 1 else "s"
    what = f"{difference:g} {unit}{plural} apart"
    of = "of the paired differences" if paired else "between seeds"
    if seeds is None:
        return f"How many seeds tell {what} is not known from this spread {of}."
    return (
        f"With this spread {of} (sd {spread:.2g}), {seeds} seeds tell {what} "
        f"(t test at {ALPHA:g}, power {POWER:g})."
    )
