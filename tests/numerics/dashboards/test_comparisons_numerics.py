"""Comparisons of rows against slow references that try every case, and against printed tables."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from rml_dashboards.statistics.aggregates import (
    aggregate,
    interquartile_mean,
    performance_profile,
    probability_of_improvement,
    probability_of_improvement_interval,
)
from rml_dashboards.statistics.power import power_of, seeds_to_tell
from rml_dashboards.statistics.ranking import critical_difference, rank_rows
from rml_dashboards.statistics.resampling import bootstrap_interval, strata_of
from rml_dashboards.statistics.significance import holm, sign_flip_p, wilcoxon_p

differences = st.lists(
    st.integers(min_value=-40, max_value=40).map(lambda x: x / 8), min_size=5, max_size=8
)


def share_of_signs(weights: list[float], found: float) -> float:
    """Share of all signs whose sum of weights is at least as far from zero as the one found."""
    sums = [
        abs(sum(s * w for s, w in zip(signs, weights, strict=True)))
        for signs in itertools.product((-1, 1), repeat=len(weights))
    ]
    return sum(one >= abs(found) - 1e-12 for one in sums) / len(sums)


@settings(max_examples=40, deadline=None)
@given(differences)
def test_sign_flips_are_all_tried(numbers: list[float]) -> None:
    assert sign_flip_p(numbers) == pytest.approx(share_of_signs(numbers, sum(numbers)), abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(differences)
def test_wilcoxon_is_exact_with_ties_and_zeros(numbers: list[float]) -> None:
    """Ranks of sizes, zeros ranked and then left out; the rank sum's distribution by all signs."""
    sizes = [abs(x) for x in numbers]
    ranks = [1 + sum(s < x for s in sizes) + (sizes.count(x) - 1) / 2 for x in sizes]
    signed = [rank * np.sign(x) for rank, x in zip(ranks, numbers, strict=True)]
    kept = [abs(x) for x in signed if x]
    expected = share_of_signs(kept, sum(signed)) if kept else 1.0
    assert wilcoxon_p(numbers) == pytest.approx(expected, abs=1e-12)


tenths = st.lists(
    st.tuples(st.integers(min_value=590, max_value=620), st.integers(min_value=590, max_value=620)),
    min_size=5,
    max_size=8,
)
"""Scores of two rows in tenths of a point."""


def share_of_whole_signs(weights: list[Fraction], found: Fraction) -> float:
    """As `share_of_signs`, of exact numbers."""
    every = list(itertools.product((-1, 1), repeat=len(weights)))
    sums = [
        sum((s * w for s, w in zip(signs, weights, strict=True)), start=Fraction(0))
        for signs in every
    ]
    return float(Fraction(sum(abs(one) >= abs(found) for one in sums), len(every)))


def exact_p_values(differences: list[int]) -> tuple[float, float]:
    """p of the sign flips and of Wilcoxon's test, of whole numbers."""
    flipped = share_of_whole_signs(
        [Fraction(one) for one in differences], Fraction(sum(differences))
    )
    sizes = [abs(one) for one in differences]
    ranks = [1 + sum(s < x for s in sizes) + Fraction(sizes.count(x) - 1, 2) for x in sizes]
    signed = [
        rank * (1 if one > 0 else -1)
        for rank, one in zip(ranks, differences, strict=True)
        if one != 0
    ]
    ranked = share_of_whole_signs([abs(one) for one in signed], sum(signed, start=Fraction(0)))
    return flipped, ranked


@settings(max_examples=30, deadline=None)
@given(tenths)
@example([(609, 612), (605, 612), (608, 601), (598, 607), (603, 596)])
@example([(609, 608), (605, 604), (608, 607), (598, 597), (603, 602)])
@example([(609, 608), (605, 606), (608, 607), (598, 599), (601, 601)])
def test_differences_of_scores_with_one_decimal_are_tied_as_printed(
    pairs: list[tuple[int, int]],
) -> None:
    """60.9 − 60.8 and 60.5 − 60.4 are equal, whatever floats make of them."""
    flipped, ranked = exact_p_values([mine - theirs for mine, theirs in pairs])
    floats = [mine / 10 - theirs / 10 for mine, theirs in pairs]
    assert sign_flip_p(floats) == pytest.approx(flipped, abs=1e-12)
    assert wilcoxon_p(floats) == pytest.approx(ranked, abs=1e-12)


def test_drawn_signs_find_the_ties_of_decimal_scores_too() -> None:
    whole = np.asarray([1, 1, -1, 2, -2, 3, 0, 1, -1, 2, 1, -3, 1, 2, -1, 1, -4, 1], dtype=float)
    base = 60.1 + 0.1 * np.arange(len(whole))
    floats = (base + whole / 10) - base
    assert sign_flip_p(floats) == sign_flip_p(whole)
    assert wilcoxon_p(floats) == wilcoxon_p(whole)
    assert wilcoxon_p(floats[:16]) == 0.287841796875, "of scipy's own permutations"


def test_p_values_by_hand() -> None:
    """Six differences of one sign: 2 of 64 assignments are as extreme."""
    rising = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    assert sign_flip_p(rising) == pytest.approx(2 / 64)
    assert wilcoxon_p(rising) == pytest.approx(2 / 64)
    assert math.isnan(sign_flip_p(rising[:4]))
    assert math.isnan(wilcoxon_p(rising[:4]))


def test_holm_by_hand() -> None:
    """0.005·4, 0.01·3, 0.03·2, and 0.04·1 is lifted to the one before; what is NaN does not
    count."""
    given_p = [0.01, 0.04, math.nan, 0.03, 0.005]
    assert holm(given_p) == pytest.approx([0.03, 0.06, math.nan, 0.06, 0.02], nan_ok=True)
    assert holm([0.7, 0.6]) == pytest.approx([1.0, 1.0])


def test_strata_keep_their_share_in_every_resample() -> None:
    """Two splits ten points apart and no spread within them: no resample moves the mean. Drawn
    without strata the mean could lie anywhere between them."""
    values = [0.0, 0.0, 10.0, 10.0]
    assert bootstrap_interval(strata_of(values, ["a", "a", "b", "b"])) == (5.0, 5.0)
    assert bootstrap_interval(strata_of(values, ["a", "b", "c", "d"])) == (0.0, 10.0)


def test_bootstrap_quantiles_are_those_of_all_resamples() -> None:
    """All 3³ · 2² resamples of two strata, against draws: at most 2 steps of the grid apart."""
    first = np.array([60.0, 61.0, 63.5])
    second = np.array([70.0, 74.0])
    means = sorted(
        (sum(a) + sum(b)) / 5
        for a in itertools.product(first, repeat=3)
        for b in itertools.product(second, repeat=2)
    )
    low, high = bootstrap_interval([first, second])
    assert low == pytest.approx(np.quantile(means, 0.025), abs=0.25)
    assert high == pytest.approx(np.quantile(means, 0.975), abs=0.25)
    assert (low, high) == bootstrap_interval([first, second])


def test_interquartile_mean_by_hand() -> None:
    """Of 1 … 8 the middle half is 3 … 6; of nine numbers two are left out at each end."""
    eight = np.arange(1.0, 9.0)
    assert float(interquartile_mean(eight[:3], eight[3:])) == 4.5
    nine = np.array([0.0, 1.0, 2.0, 3.0, 10.0, 12.0, 50.0, 80.0, 90.0])
    assert float(interquartile_mean(nine)) == pytest.approx((2 + 3 + 10 + 12 + 50) / 5)
    found = aggregate([eight[:4], eight[4:]])
    assert (found["n"], found["num_columns"], found["iqm"]) == (8, 2, 4.5)
    assert found["iqm_low"] < 4.5 < found["iqm_high"]


def test_profile_by_hand() -> None:
    """Share of runs above a threshold; a run on it is not above it."""
    profile = performance_profile([np.array([1.0, 2.0]), np.array([3.0, 4.0])], [0.0, 2.0, 4.0])
    assert profile["share"].tolist() == [1.0, 0.5, 0.0]
    assert profile["low"].tolist() == [1.0, 0.5, 0.0]
    assert profile["high"].tolist() == [1.0, 0.5, 0.0]


def test_probability_of_improvement_by_hand() -> None:
    """Of nine pairs three win, three tie, three lose; the second column wins all of its four."""
    first = [np.array([1.0, 2.0, 3.0]), np.array([5.0, 6.0])]
    second = [np.array([2.0, 2.0, 2.0]), np.array([1.0, 2.0])]
    assert probability_of_improvement(first, second) == pytest.approx((0.5 + 1.0) / 2)
    low, high = probability_of_improvement_interval(first, second)
    assert 0.5 <= low < 0.75 < high <= 1.0


def test_scores_that_are_equal_but_for_their_last_bits_share_wins_and_ranks() -> None:
    """0.1 + 0.2 is 0.3 in decimals; the mean of 60.0, 60.4, 60.5 is 60.3."""
    assert probability_of_improvement([np.array([0.1 + 0.2])], [np.array([0.3])]) == 0.5
    one = float(np.mean([60.0, 60.4, 60.5]))
    other = float(np.mean([60.3, 60.3, 60.3]))
    assert one != other, "else this shows nothing"
    ranking = rank_rows(pd.DataFrame({"a": [one, other], "b": [other, one]}, index=["x", "y"]))
    assert ranking.mean_ranks.tolist() == [1.5, 1.5]
    tied = rank_rows(pd.DataFrame({"a": [one, other, 0.0], "b": [1.0, 1.0, 1.0]}))
    assert tied.mean_ranks.tolist() == [1.75, 1.75, 2.5]


# Demšar 2006, Table 6: accuracies of four classifiers on fourteen data sets; its ranks are printed.
DEMSAR = [
    (0.763, 0.768, 0.771, 0.798),
    (0.599, 0.591, 0.590, 0.569),
    (0.954, 0.971, 0.968, 0.967),
    (0.628, 0.661, 0.654, 0.657),
    (0.882, 0.888, 0.886, 0.898),
    (0.936, 0.931, 0.916, 0.931),
    (0.661, 0.668, 0.609, 0.685),
    (0.583, 0.583, 0.563, 0.625),
    (0.775, 0.838, 0.866, 0.875),
    (1.000, 1.000, 1.000, 1.000),
    (0.940, 0.962, 0.965, 0.962),
    (0.619, 0.666, 0.614, 0.669),
    (0.972, 0.981, 0.975, 0.9749),  # printed as 0.975 both, with ranks 2 and 3
    (0.957, 0.978, 0.946, 0.970),
]


def test_ranks_of_a_published_example() -> None:
    names = ["C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf"]
    ranking = rank_rows(pd.DataFrame(DEMSAR, columns=names).T)
    assert ranking.mean_ranks.round(3).to_dict() == {
        "C4.5+m+cf": 1.964,
        "C4.5+m": 2.0,
        "C4.5+cf": 2.893,
        "C4.5": 3.143,
    }
    assert ranking.critical_difference == pytest.approx(1.25, abs=0.005)
    assert ranking.groups == (tuple(ranking.mean_ranks.index),)
    # Printed is χ² = 9.28. Ties (one of four rows, three of two) divide it by 1 − 78/840, and the
    # χ² distribution with 3 degrees of freedom has p = 0.0167 at 10.23.
    assert ranking.friedman_p == pytest.approx(0.0167, abs=1e-4)


@pytest.mark.parametrize(("num_rows", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (10, 3.164)])
def test_critical_values_are_the_printed_ones(num_rows: int, q: float) -> None:
    """Demšar 2006, Table 5(a), α = 0.05."""
    found = critical_difference(num_rows, 6)
    assert found / math.sqrt(num_rows * (num_rows + 1) / 36) == pytest.approx(q, abs=1.1e-3)


@pytest.mark.parametrize(
    ("effect", "paired", "seeds"),
    [(0.5, False, 64), (0.8, False, 26), (0.5, True, 34), (0.8, True, 15)],
)
def test_seeds_are_those_of_printed_power_tables(effect: float, paired: bool, seeds: int) -> None:
    """Cohen 1988 and G*Power: two-sided, α = 0.05, power 0.8."""
    assert seeds_to_tell(1.0, effect, paired=paired) == seeds
    assert power_of(seeds, 1.0, effect, paired=paired) >= 0.8
    assert power_of(seeds - 1, 1.0, effect, paired=paired) < 0.8


def test_power_is_how_often_the_test_finds_the_difference() -> None:
    rng = np.random.default_rng(0)
    draws = rng.normal(1.0, 1.2, size=(20_000, 8))
    t = draws.mean(axis=1) / draws.std(axis=1, ddof=1) * math.sqrt(8)
    share = np.mean(np.abs(t) > 2.364624)  # 97.5 % point of t with 7 degrees of freedom
    assert power_of(8, 1.2, 1.0, paired=True) == pytest.approx(share, abs=0.014)


@pytest.mark.parametrize("paired", [True, False])
def test_power_is_a_number_that_grows_with_seeds_whatever_the_spread(paired: bool) -> None:
    for spread in np.geomspace(0.01, 5.0, 60):
        powers = [power_of(n, spread, 1.0, paired=paired) for n in (2, 3, 4, 8, 16, 64, 1024)]
        assert np.isfinite(powers).all(), spread
        assert powers == sorted(np.minimum(powers, 1.0)), spread
    assert seeds_to_tell(0.183, 1.0, paired=True) == 3  # of three splits of a control on CamVid


def test_power_is_that_of_the_noncentral_t() -> None:
    """Where scipy has a number."""
    for spread, seeds in itertools.product((0.8, 2.0, 5.0), (2, 3, 5, 12, 30)):
        freedom = seeds - 1
        limit = stats.t.ppf(0.975, freedom)
        shift = math.sqrt(seeds) / spread
        tails = (stats.nct.sf(limit, freedom, shift), stats.nct.cdf(-limit, freedom, shift))
        assert power_of(seeds, spread, 1.0, paired=True) == pytest.approx(sum(tails), abs=1e-5)
