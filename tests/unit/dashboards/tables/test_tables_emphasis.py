"""Best and second best of a column: which stand out, and where the seeds do not support it."""

import pytest

from rml_dashboards.errors import DashboardError
from rml_dashboards.statistics.significance import is_told_apart
from rml_dashboards.tables.entries import Table
from rml_dashboards.tables.render import markdown
from rml_dashboards.tables.specification import RowSpec
from tests.support.dashboards.small_tables import runs_of, table_of


def ranked(emphasis: str, **scores: tuple[float, ...]) -> Table:
    runs = [run for row, values in scores.items() for run in runs_of(row, *values)]
    return table_of(runs, rows=tuple(RowSpec(label=row) for row in scores), emphasis=emphasis)


def standing_out(table: Table) -> dict[str, str]:
    return {
        entry.row: "best" if entry.best else "second"
        for entry in table.cells()
        if entry.best or entry.second
    }


Scores = dict[str, tuple[float, ...]]
APART: Scores = {"a": (0.50, 0.51, 0.52), "b": (0.60, 0.61, 0.62), "c": (0.70, 0.71, 0.72)}
CLOSE: Scores = {"a": (0.50, 0.51, 0.52), "b": (0.60, 0.70, 0.80), "c": (0.61, 0.71, 0.81)}
EQUAL: Scores = {"a": (0.50, 0.51, 0.52), "b": (0.600, 0.604, 0.605), "c": (0.603, 0.603, 0.603)}
"""b and c have the same mean; floats round it differently."""
TIED: Scores = {"a": (0.5, 0.5, 0.5), "b": (0.6, 0.6, 0.6), "c": (0.6, 0.6, 0.6)}


@pytest.mark.parametrize(
    ("emphasis", "scores", "expected"),
    [
        ("best", APART, {"c": "best"}),
        ("best_two", APART, {"c": "best", "b": "second"}),
        ("supported", APART, {"c": "best", "b": "second"}),
        ("best_two", CLOSE, {"c": "best", "b": "second"}),
        ("supported", CLOSE, {}),
        ("best_two", TIED, {"c": "best", "b": "best", "a": "second"}),
        ("supported", TIED, {}),
        ("best_two", EQUAL, {"c": "best", "b": "best", "a": "second"}),
        ("supported", EQUAL, {}),
        ("supported", {"a": (0.5, 0.5, 0.5), "b": (0.6, 0.6, 0.6)}, {"b": "best"}),
    ],
)
def test_which_scores_stand_out(emphasis: str, scores: Scores, expected: dict[str, str]) -> None:
    assert standing_out(ranked(emphasis, **scores)) == expected


def test_the_second_best_is_underlined_and_the_legend_says_so() -> None:
    text = markdown(ranked("best_two", **APART))
    assert "**71.0 ± 1.0 (3)**" in text and "<u>61.0 ± 1.0 (3)</u>" in text
    assert "underlined: second best." in text


def test_welch_by_hand() -> None:
    """Means 1 apart, sd 1, n 8 each: t = 2 at 14 degrees of freedom, below 2.1448; n 9: t = 2.1213
    at 16, above 2.1199."""
    assert not is_told_apart((1.0, 1.0, 8), (0.0, 1.0, 8))
    assert is_told_apart((1.0, 1.0, 9), (0.0, 1.0, 9))
    assert not is_told_apart((9.0, float("nan"), 1), (0.0, 1.0, 9))


def test_equal_scores_are_not_told_apart_by_what_floats_round() -> None:
    assert not is_told_apart((0.1 + 0.2, 1e-17, 5), (0.3, 0.0, 5))
    assert is_told_apart((0.4, 1e-17, 5), (0.3, 0.0, 5))


def test_an_unknown_emphasis_is_refused() -> None:
    with pytest.raises(DashboardError, match="emphasis = 'all', expected one of best, best_two"):
        ranked("all", **APART)
