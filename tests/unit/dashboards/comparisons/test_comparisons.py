"""Rows of a filled table against one of them: what is compared, what is left out, and how it is
told."""

import csv
from pathlib import Path

import pytest

from rml_dashboards.comparisons.cells import cell_statistics, performance_profiles
from rml_dashboards.comparisons.compare import Comparison, compare_rows, noise_floor
from rml_dashboards.comparisons.publish import write_comparison, write_statistics
from rml_dashboards.comparisons.text import comparison_markdown, statistics_markdown
from rml_dashboards.errors import DashboardError
from rml_dashboards.tables.entries import Table
from rml_dashboards.tables.specification import ColumnSpec, RowSpec
from tests.support.dashboards.small_tables import OTHER_PROTOCOL, runs_of, table_of
from tests.support.recorded import PROTOCOL

Scores = dict[str, tuple[float, ...]]
FIVE: Scores = {"IML": (0.60, 0.61, 0.62, 0.63, 0.64), "RML": (0.61, 0.63, 0.63, 0.65, 0.65)}


def filled(
    scores: Scores,
    *,
    columns: tuple[str, ...] = ("1/8",),
    protocols: dict[str, str] | None = None,
) -> Table:
    """The same scores in every column."""
    runs = [
        run
        for row, values in scores.items()
        for column in columns
        for run in runs_of(
            row, *values, column=column, protocol=(protocols or {}).get(row, PROTOCOL)
        )
    ]
    return table_of(
        runs,
        rows=tuple(RowSpec(label=row) for row in scores),
        columns=tuple(ColumnSpec(label=column) for column in columns),
        num_seeds=max(map(len, scores.values())),
    )


def test_five_pairs_are_tested_in_the_units_of_the_table() -> None:
    (line,) = compare_rows(filled(FIVE), "IML").differences.to_dict("records")
    assert (line["row"], line["n"], line["mean"]) == ("RML", 5, pytest.approx(1.4))
    assert line["p_permutation"] == pytest.approx(2 / 32)
    text = comparison_markdown(compare_rows(filled(FIVE), "IML"))
    assert "+1.4 ± 0.5" in text and "0.062" in text
    assert "With this spread of the paired differences (sd 0.55)" in text


def test_three_pairs_are_shown_as_points_without_stars() -> None:
    few: Scores = {row: values[:3] for row, values in FIVE.items()}
    text = comparison_markdown(compare_rows(filled(few), "IML"))
    assert "+1.3 (+1.0 +2.0 +1.0)" in text
    assert "Fewer than five pairs are listed and not tested." in text
    (line,) = [one for one in text.splitlines() if one.startswith("| RML")]
    assert "*" not in line and line.count("–") == 3, "the three p values"


def test_scores_of_another_protocol_are_left_out_and_said() -> None:
    scores: Scores = {**FIVE, "Far": (0.9,) * 5}
    comparison = compare_rows(filled(scores, protocols={"Far": OTHER_PROTOCOL}), "IML")
    assert list(comparison.differences["row"]) == ["RML"]
    assert comparison.notes[0] == (
        "Column 1/8: scores of Far under another protocol than that of IML are left out."
    )


def test_a_row_without_a_common_seed_is_said() -> None:
    runs = runs_of("IML", 0.6) + runs_of("RML", 0.6, 0.7)[1:]
    table = table_of(runs, rows=(RowSpec(label="IML"), RowSpec(label="RML")))
    comparison = compare_rows(table, "IML")
    assert comparison.differences.empty
    assert comparison.notes[0].startswith("Row RML, column 1/8: no run of a split and seed that")
    assert "No run can be paired." in comparison_markdown(comparison)


GAPS = {
    "IML": ("a", "b", "c"),
    "RML": ("a", "b", "c", "d"),
    "CPS": ("a", "b", "c"),
    "MT": ("a", "b", "d"),
}
"""Row → the columns in which it has scores."""


def with_gaps() -> Table:
    """Column d has no score of IML, c none of MT."""
    runs = [
        run
        for row, columns in GAPS.items()
        for column in columns
        for run in runs_of(row, 0.6, 0.61, 0.63, column=column)
    ]
    columns = tuple(ColumnSpec(label=column) for column in "abcd")
    return table_of(runs, rows=tuple(RowSpec(label=row) for row in GAPS), columns=columns)


def test_columns_and_rows_that_lack_scores_are_named() -> None:
    comparison = compare_rows(with_gaps(), "IML")
    assert set(comparison.differences["column"]) == {"a", "b", "c"}
    assert list(comparison.overall["row"]) == ["RML"]
    assert comparison.ranking is not None and comparison.ranking.num_columns == 2
    assert comparison.notes == (
        "No score of IML, so nothing is compared: column d.",
        "Left out over all columns: IML, CPS (no score in d).",
        "Left out over all columns: MT (no score in c).",
        "Left out of the ranks: column c (no score of MT).",
        "Left out of the ranks: column d (no score of IML, CPS).",
    )
    text = comparison_markdown(comparison)
    assert all(f"\n- {note}" in text for note in comparison.notes)


def test_a_column_of_several_protocols_is_named_where_columns_are_looked_at_together() -> None:
    runs = [
        run
        for row in ("IML", "RML")
        for column in ("a", "b", "c")
        for run in runs_of(
            row,
            0.6,
            0.61,
            column=column,
            protocol=OTHER_PROTOCOL if (row, column) == ("RML", "c") else PROTOCOL,
        )
    ]
    rows = (RowSpec(label="IML"), RowSpec(label="RML"))
    columns = tuple(ColumnSpec(label=column) for column in "abc")
    table = table_of(runs, rows=rows, columns=columns, num_seeds=2)
    text = "column c (scores under several protocols)"
    assert f"Left out over all columns: {text}." in compare_rows(table, "IML").notes
    assert f"\n- Left out of the profiles: {text}.\n" in statistics_markdown(
        table, cell_statistics(table)
    )


def test_statistics_name_the_rows_that_have_no_profile() -> None:
    table = with_gaps()
    assert set(performance_profiles(table)["row"]) == {"RML"}
    text = statistics_markdown(table, cell_statistics(table))
    assert "\n- Left out of the profiles: IML, CPS (no score in d).\n- Left out of the" in text
    assert "Left out" not in statistics_markdown(filled(FIVE), cell_statistics(filled(FIVE)))


def over_three_columns() -> Comparison:
    scores: Scores = {**FIVE, "Base": (0.50, 0.51, 0.52, 0.53, 0.54)}
    return compare_rows(filled(scores, columns=("a", "b", "c")), "Base")


def test_over_all_columns_rows_are_aggregated_and_ranked() -> None:
    comparison = over_three_columns()
    rml = comparison.overall.set_index("row").loc["RML"]
    # The fifteen scores are 61, 63, 63, 65, 65 three times; without the three lowest and highest:
    # six of 63 and three of 65.
    assert (rml["n"], rml["num_columns"]) == (15, 3)
    assert rml["iqm"] == pytest.approx((6 * 63 + 3 * 65) / 9)
    assert rml["improvement"] == 1.0
    assert comparison.ranking is not None
    assert dict(comparison.ranking.mean_ranks) == {"RML": 1.0, "IML": 2.0, "Base": 3.0}
    text = comparison_markdown(comparison)
    assert "## Over all columns" in text and "## Mean ranks" in text


def test_differences_within_rounding_are_marked() -> None:
    table = filled(FIVE)
    assert "+1.4 ≈ ± 0.5" in comparison_markdown(
        compare_rows(table, "IML", noise_floor(table, "1.5"))
    )
    assert "+1.4 ± 0.5" in comparison_markdown(
        compare_rows(table, "IML", noise_floor(table, "1.3"))
    )


def test_the_floor_is_measured_from_two_rows() -> None:
    floor = noise_floor(filled(FIVE), "IML=RML")
    assert floor.value == pytest.approx(2.0)
    assert floor.source == "largest difference of 5 pairs of runs of IML and RML"


@pytest.mark.parametrize("text", ["IML", "-1", "nan", "IML=other"])
def test_what_is_no_floor_is_refused(text: str) -> None:
    with pytest.raises(DashboardError, match="expected a number in the units of the table"):
        noise_floor(filled(FIVE), text)


def test_an_unknown_row_and_a_table_without_scores_are_refused() -> None:
    with pytest.raises(DashboardError, match="rows with scores: IML, RML"):
        compare_rows(filled(FIVE), "other")
    with pytest.raises(DashboardError, match="no run has a score yet"):
        compare_rows(table_of([]), "IML")


def test_statistics_of_cells() -> None:
    line = cell_statistics(filled(FIVE)).set_index("row").loc["IML"]
    assert (line["n"], line["mean"]) == (5, pytest.approx(62.0))
    half = 2.776445 * 2.5**0.5 / 5**0.5
    assert line["ci_low"] == pytest.approx(62 - half, abs=1e-5)
    assert 60 < line["boot_low"] < 62 < line["boot_high"] < 64
    assert line["points"] == pytest.approx((60, 61, 62, 63, 64))


def test_profiles_by_hand() -> None:
    profiles = performance_profiles(filled({"IML": (0.6, 0.7)}))
    assert profiles[["threshold", "share"]].to_numpy().tolist() == [[60.0, 0.5], [70.0, 0.0]]


def test_files_are_tidy_and_the_same_bytes_each_time(tmp_path: Path) -> None:
    comparison = over_three_columns()
    first, second = (
        [*write_statistics(comparison.table, folder), *write_comparison(comparison, folder)]
        for folder in (tmp_path / "a", tmp_path / "b")
    )
    assert [path.name for path in first] == [
        *("t-statistics.md", "t-statistics.csv", "t-profiles.csv"),
        *("t-paired.md", "t-paired.csv"),
    ]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    lines = list(csv.DictReader((tmp_path / "a" / "t-paired.csv").open()))
    assert lines[0]["points"] == "10.0 10.0 10.0 10.0 10.0"
    assert len(lines) == 2 * 3
