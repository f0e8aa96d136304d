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

from rml_dashboards.statistics.resampling import Statistic, bootstrap_interval, bootstrap_intervals
from rml_dashboards.statistics.ties import in_steps

Floats = npt.NDArray[np.float64]
Columns = Sequence[Floats]


def interquartile_mean(*columns: Floats, axis: int = -1) -> Floats:
    """Mean of the middle half of all runs of all columns: the lowest and the highest quarter are
    left out, ⌊n/4⌋ runs each."""
    return np.asarray(stats.trim_mean(np.concatenate(columns, axis=axis), 0.25, axis=axis))


def share_above(thresholds: Sequence[float] | Floats) -> Statistic:
    """Statistic: which share of all runs of all columns scored more than each of the thresholds;
    these are the first axis of what it gives."""
    return partial(_share_above, thresholds)


def _share_above(thresholds: Sequence[float] | Floats, *columns: Floats, axis: int = -1) -> Floats:
    scores = np.concatenate(columns, axis=axis)
    return np.asarray([np.mean(scores > threshold, axis=axis) for threshold in thresholds])


def probability_of_improvement(rows: Columns, others: Columns) -> float:
    """How likely a run of the one row scores higher than a run of the other, mean over columns.

    Of one column it is Mann–Whitney's U over the number of pairs; a tie counts one half.
    """
    return float(_improvement(*rows, *others))


def probability_of_improvement_interval(rows: Columns, others: Columns) -> tuple[float, float]:
    """95 % bootstrap interval of it.

    What is drawn are places of runs: who wins over whom is the same in every resample.
    """
    wins = [_wins(mine, theirs) for mine, theirs in zip(rows, others, strict=True)]
    places = [np.arange(len(column), dtype=np.float64) for column in (*rows, *others)]
    return bootstrap_interval(places, partial(_improvement_of_places, wins))


def _improvement(*columns: Floats) -> Floats:
    half = len(columns) // 2
    pairs = zip(columns[:half], columns[half:], strict=True)
    return np.asarray(np.mean([np.mean(_wins(mine, theirs)) for mine, theirs in pairs]))


def _wins(mine: Floats, theirs: Floats) -> Floats:
    """Of every pair of runs: 1 where mine scored higher, one half for a tie."""
    gap = in_steps(mine[:, None] - theirs[None, :])
    return np.asarray((gap > 0) + 0.5 * (gap == 0))


def _improvement_of_places(wins: Sequence[Floats], *places: Floats, axis: int = -1) -> Floats:
    half = len(places) // 2
    each = [
        _mean_win(own, np.moveaxis(mine, axis, -1), np.moveaxis(theirs, axis, -1))
        for own, mine, theirs in zip(wins, places[:half], places[half:], strict=True)
    ]
    return np.asarray(np.mean(each, axis=0))


def _mean_win(wins: Floats, mine: Floats, theirs: Floats) -> Floats:
    """Mean over all pairs of the runs at these places; the sum is exact: it is of halves."""
    counted = np.einsum("...i,ij,...j->...", _counts(mine), wins, _counts(theirs), optimize=True)
    return np.asarray(counted / (mine.shape[-1] * theirs.shape[-1]))


def _counts(places: Floats) -> Floats:
    """How often each place occurs, along the last axis."""
    num = places.shape[-1]
    flat = places.reshape(-1, num).astype(np.intp)
    flat += num * np.arange(len(flat), dtype=np.intp)[:, None]
    counted = np.bincount(flat.ravel(), minlength=flat.size).astype(np.float64)
    return counted.reshape(places.shape)


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
    share = share_above(thresholds)
    lows, highs = bootstrap_intervals(columns, share)
    shares = share(*columns)
    frame = {"threshold": thresholds, "share": shares, "low": lows, "high": highs}
    return pd.DataFrame(frame, dtype=np.float64)
