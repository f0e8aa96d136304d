"""Cell statistics against Python's own statistics module (exact rational arithmetic) and the
printed t table."""

import math
import statistics
from random import Random

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rml_dashboards.statistics.summary import summarise, t_half_width

# Two-sided 95 % points of Student's t by degrees of freedom, as printed in statistical tables
# (three decimals).
T_TABLE = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 9: 2.262, 29: 2.045, 120: 1.980}

scores = st.floats(min_value=0, max_value=100, allow_nan=False).map(lambda x: round(x, 6))


def frame(values_by_cell: list[list[float]]) -> pd.DataFrame:
    rows = [(cell, "done", value) for cell, values in enumerate(values_by_cell) for value in values]
    return pd.DataFrame(rows, columns=["cell", "state", "value"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(scores, min_size=2, max_size=8), min_size=1, max_size=4))
def test_mean_and_sample_deviation_match_the_exact_ones(cells: list[list[float]]) -> None:
    summary = summarise(frame(cells), ["cell"])
    for cell, values in enumerate(cells):
        row = summary.loc[cell]
        assert row["n"] == len(values)
        assert row["mean"] == pytest.approx(float(statistics.mean(values)), rel=1e-12, abs=1e-12)
        # The spread of nearly equal scores near 100 loses digits to rounding: 100 · 2⁻⁵² · a few.
        assert row["std"] == pytest.approx(statistics.stdev(values), rel=1e-9, abs=1e-12)
        assert (row["minimum"], row["maximum"]) == (min(values), max(values))


@settings(max_examples=60, deadline=None)
@given(st.lists(scores, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_order_of_seeds_does_not_matter_and_the_mean_lies_inside(
    values: list[float], random: Random
) -> None:
    row = summarise(frame([values]), ["cell"]).loc[0]
    assert row["minimum"] <= row["mean"] <= row["maximum"]
    shuffled = list(values)
    random.shuffle(shuffled)
    other = summarise(frame([shuffled]), ["cell"]).loc[0]
    assert other["mean"] == pytest.approx(row["mean"], rel=1e-12)
    if len(values) > 1:
        assert row["ci_low"] <= row["mean"] <= row["ci_high"]


@pytest.mark.parametrize(("freedom", "t"), T_TABLE.items())
def test_interval_uses_the_printed_t_points(freedom: int, t: float) -> None:
    n = freedom + 1
    width = t_half_width(np.array([2.0]), np.array([n]))[0]
    assert width * math.sqrt(n) / 2.0 == pytest.approx(t, abs=5.1e-4)


def test_interval_by_hand() -> None:
    """1, 2, 3: mean 2, std 1, half width 4.302653 / √3 = 2.484138."""
    row = summarise(frame([[1.0, 2.0, 3.0]]), ["cell"]).loc[0]
    assert row["std"] == pytest.approx(1.0, rel=1e-15)
    assert (row["ci_low"], row["ci_high"]) == (
        pytest.approx(2 - 2.484138, abs=1e-6),
        pytest.approx(4.484138, abs=1e-6),
    )


def test_interval_covers_the_true_mean_95_times_in_100() -> None:
    rng = np.random.default_rng(0)
    draws = rng.normal(60.0, 0.5, size=(4000, 3))
    mean = draws.mean(axis=1)
    half = t_half_width(draws.std(axis=1, ddof=1), np.full(4000, 3))
    share = np.mean(np.abs(mean - 60.0) <= half)
    assert share == pytest.approx(0.95, abs=0.014)  # 4 standard errors of a share of 4000


def test_a_single_seed_has_no_interval() -> None:
    assert np.isnan(t_half_width(np.array([np.nan, 1.0]), np.array([1, 0]))).all()
