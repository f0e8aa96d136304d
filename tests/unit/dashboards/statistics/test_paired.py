"""Which runs are paired, what is said of them, and what is refused."""

import math

import pandas as pd
import pytest

from rml_dashboards.errors import DashboardError
from rml_dashboards.statistics.paired import paired_differences, paired_runs
from rml_dashboards.statistics.power import power_line, seeds_to_tell
from rml_dashboards.statistics.ranking import rank_rows
from rml_dashboards.statistics.rounding import NoiseFloor, measured_floor


def scored(**rows: list[tuple[int, str, float]]) -> pd.DataFrame:
    """Runs (seed, split, value) of one column, by row."""
    return pd.DataFrame(
        [
            {"row": row, "column": "1/8", "seed": seed, "split": split, "value": value}
            for row, runs in rows.items()
            for seed, split, value in runs
        ]
    )


def by_seed(*values: float) -> list[tuple[int, str, float]]:
    return [(seed, f"split{seed}", value) for seed, value in enumerate(values)]


def test_only_runs_of_the_same_split_and_seed_are_paired() -> None:
    frame = scored(
        IML=[(0, "a", 60.0), (1, "b", 61.0), (2, "c", 59.0)],
        RML=[(0, "a", 62.0), (1, "other", 90.0), (3, "c", 90.0)],
    )
    assert paired_runs(frame, "IML")[["seed", "difference"]].to_numpy().tolist() == [[0, 2.0]]


def test_differences_by_hand() -> None:
    line = paired_differences(
        scored(IML=by_seed(60, 61, 62, 63, 64), RML=by_seed(61, 63, 63, 65, 65)), "IML"
    ).iloc[0]
    assert line["points"] == (1.0, 2.0, 1.0, 2.0, 1.0)
    assert (line["row"], line["n"], line["mean"]) == ("RML", 5, pytest.approx(1.4))
    assert line["std"] == pytest.approx(math.sqrt(0.3))
    assert line["effect_size"] == pytest.approx(1.4 / math.sqrt(0.3))
    assert line["ci_low"] == pytest.approx(1.4 - 2.776445 * math.sqrt(0.3 / 5), abs=1e-6)
    assert line["p_permutation"] == pytest.approx(2 / 32)
    # Of 25 pairs 61 wins 1 and ties 1, each 63 wins 3 and ties 1, each 65 wins all 5.
    assert line["improvement"] == pytest.approx(18.5 / 25)
    assert line["seeds_to_tell_1"] == seeds_to_tell(math.sqrt(0.3), 1.0, paired=True)


def test_equal_differences_of_decimal_scores_have_no_effect_size() -> None:
    """Their spread is what floats round."""
    scores = (60.9, 60.5, 60.8, 59.8, 60.3)
    base = by_seed(*(round(score - 0.1, 1) for score in scores))
    line = paired_differences(scored(IML=base, RML=by_seed(*scores)), "IML").iloc[0]
    assert line["std"] == pytest.approx(0.0, abs=1e-12)
    assert math.isnan(line["effect_size"])
    assert line["p_permutation"] == line["p_wilcoxon"] == pytest.approx(2 / 32)


def test_few_seeds_are_shown_and_not_tested() -> None:
    line = paired_differences(
        scored(IML=by_seed(60, 60, 60, 60), RML=by_seed(70, 71, 72, 73)), "IML"
    ).iloc[0]
    assert line["points"] == (10.0, 11.0, 12.0, 13.0)
    assert math.isnan(line["p_holm"])
    assert line["stars"] == ""


def test_many_comparisons_are_corrected_together() -> None:
    base = by_seed(*range(60, 68))
    better = by_seed(*(v + 1 + v / 100 for v in range(60, 68)))
    alone = paired_differences(scored(IML=base, RML=better), "IML").iloc[0]
    others = {f"row{i}": better for i in range(4)}
    among = paired_differences(scored(IML=base, **others), "IML")
    assert alone["p_holm"] == pytest.approx(2 / 256)
    assert alone["stars"] == "**"
    assert among["p_holm"].tolist() == pytest.approx([4 * 2 / 256] * 4)
    assert set(among["stars"]) == {"*"}


def test_lower_is_better_turns_the_probability_and_not_the_difference() -> None:
    frame = scored(IML=by_seed(3.0, 3.1), RML=by_seed(2.0, 2.1))
    line = paired_differences(frame, "IML", higher_is_better={"1/8": False}).iloc[0]
    assert (line["mean"], line["improvement"]) == (pytest.approx(-1.0), 1.0)


def test_an_unknown_row_is_named_with_those_that_are_there() -> None:
    with pytest.raises(DashboardError, match=r"'CPS'.*rows with scores: IML, RML"):
        paired_differences(scored(IML=by_seed(1.0), RML=by_seed(2.0)), "CPS")


def test_two_runs_of_one_pair_are_refused() -> None:
    twice = scored(IML=[(0, "a", 1.0), (0, "a", 2.0)], RML=[(0, "a", 2.0)])
    with pytest.raises(DashboardError, match="two runs of seed 0 on split a"):
        paired_runs(twice, "RML")


def test_floor_is_the_largest_gap_of_a_repeated_run() -> None:
    frame = scored(RML=by_seed(60.0, 61.0), again=by_seed(60.1, 60.7), IML=by_seed(1.0, 2.0))
    floor = measured_floor(frame, "RML", "again")
    assert floor.value == pytest.approx(0.3)
    assert floor.source == "largest difference of 2 pairs of runs of RML and again"
    with pytest.raises(DashboardError, match="share no scored run"):
        measured_floor(frame, "RML", "absent")


def test_floor_hides_what_is_no_larger() -> None:
    floor = NoiseFloor(value=0.3, source="stated")
    assert [floor.hides(gap) for gap in (0.3, -0.3, 0.31)] == [True, True, False]
    assert floor.hides(60.6 - 60.3) and floor.hides(60.3 - 60.6), "0.3 up to what floats round"


def test_power_line_reads_as_a_sentence() -> None:
    assert power_line(1.0, 0.8, paired=True) == (
        "With this spread of the paired differences (sd 1), 15 seeds tell 0.8 points apart "
        "(t test at 0.05, power 0.8)."
    )
    assert "not known" in power_line(math.nan, paired=False)
    assert seeds_to_tell(1e6, 0.01, paired=True) is None


def test_ranks_turn_where_lower_is_better_and_gaps_are_left_out() -> None:
    means = pd.DataFrame(
        {"a": [1.0, 2.0, 3.0], "b": [1.0, 2.0, 3.0], "gap": [9.0, math.nan, 1.0]},
        index=["x", "y", "z"],
    )
    assert list(rank_rows(means).mean_ranks.index) == ["z", "y", "x"]
    ranking = rank_rows(means, higher_is_better=False)
    assert list(ranking.mean_ranks.index) == ["x", "y", "z"]
    assert ranking.num_columns == 2
    with pytest.raises(DashboardError, match="at least two rows and two columns"):
        rank_rows(means[["a"]])


def test_groups_are_rows_closer_than_the_critical_difference() -> None:
    """Twelve columns on which four rows always rank alike: CD = 2.569 · √(20/72) = 1.354, so
    neighbours (1 apart) are joined and others are not."""
    means = pd.DataFrame({str(i): [4.0, 3.0, 2.0, 1.0] for i in range(12)}, index=list("abcd"))
    assert rank_rows(means).groups == (("a", "b"), ("b", "c"), ("c", "d"))
