"""Mean, spread and counts of a cell's seeds."""

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from rml_dashboards.contract.states import TABLE_STATES

LEVEL = 0.95


def summarise(seeds: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """One row per group of `by`, in order of first appearance.

    `seeds` has one row per expected run with `state` (one of TABLE_STATES) and `value` (read where
    the state is done). Columns returned: n_expected, n (done), mean, std (sample standard
    deviation, ddof = 1; NaN for n < 2), minimum, maximum, ci_low, ci_high (95 % t interval of the
    mean, NaN for n < 2) and one count per state.
    """
    done = seeds["value"].where(seeds["state"] == "done").astype(float)
    groups = seeds.assign(done_value=done).groupby(by, sort=False)
    scores = groups["done_value"].agg(["count", "mean", "std", "min", "max"])
    scores = scores.rename(columns={"count": "n", "min": "minimum", "max": "maximum"})
    half = t_half_width(scores["std"].to_numpy(), scores["n"].to_numpy())
    # A mean lies between its extremes; rounding in the sum must not carry it outside.
    mean = scores["mean"].clip(scores["minimum"], scores["maximum"])
    states = pd.DataFrame(
        {
            state: (seeds["state"] == state).groupby([seeds[b] for b in by]).sum()
            for state in TABLE_STATES
        }
    )
    scores = scores.assign(
        n_expected=groups.size(),
        mean=mean,
        ci_low=mean - half,
        ci_high=mean + half,
    )
    return scores.join(states)


def t_half_width(std: np.ndarray, n: np.ndarray, level: float = LEVEL) -> np.ndarray:
    """Half width of the two-sided t interval of a mean, t(n−1) · std / √n; NaN where n < 2."""
    defined = n >= 2
    freedom = np.where(defined, n - 1, 1)
    width = stdtrit(freedom, 0.5 + level / 2) * std / np.sqrt(np.maximum(n, 1))
    return np.where(defined, width, np.nan)
