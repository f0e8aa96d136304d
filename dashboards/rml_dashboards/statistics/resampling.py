"""Percentile bootstrap, stratified, reproducible: every call has a generator of its own."""

from collections.abc import Callable, Hashable, Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats

from rml_dashboards.statistics.summary import LEVEL

Floats = npt.NDArray[np.float64]
Statistic = Callable[..., Floats]
"""Takes one array per stratum and `axis`, the axis along which runs lie; gives one number for each
of the other axes."""

NUM_RESAMPLES = 9999
"""scipy's default; the end of a 95 % interval then moves by about 1 % of its width between
generators."""
SEED = 20201109
"""Of every bootstrap and sampled permutation, so that a table has the same bytes each time."""


def generator() -> np.random.Generator:
    """A new generator in the same state each time."""
    return np.random.default_rng(SEED)


def pooled_mean(*strata: Floats, axis: int = -1) -> Floats:
    """Mean of all runs of all strata."""
    return np.asarray(np.mean(np.concatenate(strata, axis=axis), axis=axis))


def strata_of(values: Sequence[float] | Floats, labels: Sequence[Hashable]) -> list[Floats]:
    """Values by label, in order of first appearance: the groups within which a bootstrap draws.

    A group of one run would be drawn as it is every time and hide the spread between runs. So where
    any label has a single value, as in studies that give every seed a split of its own, all values
    are one group: what is drawn then is pairs of split and seed.
    """
    numbers = np.asarray(values, dtype=np.float64)
    order = list(dict.fromkeys(labels))
    places = {label: place for place, label in enumerate(order)}
    group = np.asarray([places[label] for label in labels], dtype=np.intp)
    sizes = np.bincount(group, minlength=len(order))
    if len(numbers) == 0 or sizes.min() < 2:
        return [numbers]
    return [numbers[group == place] for place in range(len(order))]


def bootstrap_interval(
    strata: Sequence[Floats],
    statistic: Statistic = pooled_mean,
    *,
    level: float = LEVEL,
    num_resamples: int = NUM_RESAMPLES,
) -> tuple[float, float]:
    """Percentile interval of a statistic; (NaN, NaN) where a stratum has fewer than two runs.

    Every resample draws, from each stratum and with replacement, as many runs as the stratum has.
    """
    lows, highs = bootstrap_intervals(strata, statistic, level=level, num_resamples=num_resamples)
    return float(lows), float(highs)


def bootstrap_intervals(
    strata: Sequence[Floats],
    statistic: Statistic,
    *,
    level: float = LEVEL,
    num_resamples: int = NUM_RESAMPLES,
) -> tuple[Floats, Floats]:
    """Both ends of the interval of every number that a statistic gives of the same resamples."""
    if any(len(stratum) < 2 for stratum in strata):
        nothing = np.full(np.shape(statistic(*strata)), np.nan)
        return nothing, nothing
    found = stats.bootstrap(
        tuple(strata),
        statistic,
        n_resamples=num_resamples,
        batch=_batch(sum(map(len, strata))),
        vectorized=True,
        confidence_level=level,
        method="percentile",
        rng=generator(),
    ).confidence_interval
    return np.asarray(found.low), np.asarray(found.high)


def _batch(num_runs: int) -> int:
    """Resamples at a time, such that they take some ten megabytes."""
    return max(1, 1_000_000 // max(1, num_runs))
