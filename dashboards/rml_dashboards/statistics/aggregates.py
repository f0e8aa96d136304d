"""One number for several columns: the aggregates of Agarwal et al., "Deep Reinforcement Learning at
the Edge of the Statistical Precipice" (NeurIPS 2021), by the definitions of their package rliable.

A row's scores are given as one array of runs per column (their "task"). Intervals resample the runs
within each column.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from rml_dashboards.statistics.resampling import Statistic, bootstrap_interval

Floats = npt.NDArray[np.float64]
Columns = Sequence[Floats]


def interquartile_mean(*columns: Floats, axis: int = -1) -> Floats:
    """Mean of the middle half of all runs of all columns: the lowest and the highest quarter are
    left out, ⌊n/4⌋ runs each."""
    return np.asarray(stats.trim_mean(np.concatenate(columns, axis=axis), 0.25, axis=axis))


def share_above(threshold: float) -> Statistic:
    """Statistic: which share of all runs of all columns scored more than the threshold."""
    return partial(_share_above, threshold)


def _share_above(threshold: float, *columns: Floats, axis: int = -1) -> Floats:
    return np.asarray(np.mean(np.concatenate(columns, axis=axis) > threshold, axis=axis))


def probability_of_improvement(rows: Columns, others: Columns) -> float:
    """How likely a run of the one row scores higher than a run of the other, mean over columns.

    Of one column it is Mann–Whitney's U over the number of pairs; a tie counts one half.
    """
    return float(_improvement(*rows, *others))


def probability_of_improvement_interval(rows: Columns, others: Columns) -> tuple[float, float]:
    """95 % bootstrap interval of it."""
    return bootstrap_interval([*rows, *others], _improvement)


def _improvement(*columns: Floats, axis: int = -1) -> Floats:
    half = len(columns) // 2
    each = [
        _of_one_column(np.moveaxis(mine, axis, -1), np.moveaxis(theirs, axis, -1))
        for mine, theirs in zip(columns[:half], columns[half:], strict=True)
    ]
    return np.asarray(np.mean(each, axis=0))


def _of_one_column(mine: Floats, theirs: Floats) -> Floats:
    gap = mine[..., :, None] - theirs[..., None, :]
    return np.asarray(np.mean((gap > 0) + 0.5 * (gap == 0), axis=(-2, -1)))


def aggregate(columns: Columns) -> dict[str, float]:
    """Interquartile mean, its interval, and the number of runs and columns behind it."""
    low, high = bootstrap_interval(columns, interquartile_mean)
    return {
        "num_columns": len(columns),
        "n": sum(map(len, columns)),
        "iqm": float(interquartile_mean(*columns)),
        "iqm_low": low,
        "iqm_high": high,
    }


def performance_profile(columns: Columns, thresholds: Sequence[float] | Floats) -> pd.DataFrame:
    """Share of runs above each threshold with its interval: threshold, share, low, high."""
    lines = []
    for threshold in thresholds:
        share = share_above(float(threshold))
        low, high = bootstrap_interval(columns, share)
        lines.append((float(threshold), float(share(*columns)), low, high))
    return pd.DataFrame(lines, columns=["threshold", "share", "low", "high"])
