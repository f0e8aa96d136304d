"""What a study's repeats say of rounding, in tables, comparisons and statistics."""

import functools

import pytest

from rml_dashboards.comparisons.cells import cell_statistics
from rml_dashboards.comparisons.compare import compare_rows
from rml_dashboards.comparisons.text import comparison_markdown, statistics_markdown
from rml_dashboards.contract.planned import PlannedRepeat
from rml_dashboards.tables.entries import Table
from rml_dashboards.tables.html import html
from rml_dashboards.tables.latex import latex
from rml_dashboards.tables.render import cell_frame, markdown
from rml_dashboards.tables.specification import ColumnSpec, RowSpec
from tests.support.dashboards.small_tables import notes_of, runs_of, table_of
from tests.support.recorded import recorded

ROWS = tuple(RowSpec(label=label) for label in ("IML", "RML", "MT"))
REPEATS = tuple(
    PlannedRepeat(
        row="RML",
        column="1/8",
        seed=0,
        run_id="RML-1/8-0",
        repeat_id=f"again-{number}",
        how=f"threads={number}",
    )
    for number in (2, 3)
)


def table(*again: float, repeats: tuple[PlannedRepeat, ...] = REPEATS) -> Table:
    """IML 50.0, RML 50.5, MT 60.0; of RML's first run 50.0 in all of them."""
    runs = [
        *runs_of("IML", 0.50, 0.50, 0.50),
        *runs_of("RML", 0.50, 0.505, 0.51),
        *runs_of("MT", 0.60, 0.60, 0.60),
        *(recorded(one.repeat_id, score) for one, score in zip(repeats, again, strict=False)),
    ]
    return table_of(runs, rows=ROWS, repeats=repeats)


measured = functools.cache(table)


def test_the_floor_is_the_largest_difference_that_a_repeat_makes() -> None:
    floor = measured(0.504, 0.493).floor
    assert floor is not None
    assert floor.value == pytest.approx(0.7)
    assert "RML, 1/8, seed 0: threads=2" in floor.source and "threads=3" in floor.source
    alone = measured(0.504).floor
    assert alone is not None and alone.value == pytest.approx(0.4)


def test_a_repeat_is_in_no_cell() -> None:
    with_repeats = measured(0.504, 0.493)
    plain = measured(repeats=())
    assert [e.mean for e in with_repeats.cells()] == [e.mean for e in plain.cells()]
    assert not with_repeats.values["run_id"].str.startswith("again").any()


def test_differences_below_the_floor_have_a_footnote_in_both_rows() -> None:
    made = measured(0.504, 0.493)
    iml, rml, other = made.cells()
    assert notes_of(made, iml) == ["No further from RML than rounding alone moves a run (0.700)."]
    assert notes_of(made, rml) == ["No further from IML than rounding alone moves a run (0.700)."]
    assert notes_of(made, other) == []


def test_above_the_floor_nothing_is_marked() -> None:
    made = measured(0.504)
    assert made.notes == ()
    assert "Noise floor: 0.400 (a run repeated with other rounding, of RML" in markdown(made)


@pytest.mark.parametrize("form", ["markdown", "latex", "html"])
def test_every_format_says_what_the_floor_is(form: str) -> None:
    made = measured(0.504, 0.493)
    text = {
        "markdown": lambda: markdown(made),
        "latex": lambda: latex(made),
        "html": lambda: html(made, lambda run: ""),
    }[form]()
    assert "Noise floor: 0.700 (largest of runs repeated with other rounding" in text
    assert "No further from RML than rounding alone" in text


def test_the_data_frame_has_the_floor_and_whom_it_does_not_tell_apart() -> None:
    frame = cell_frame(measured(0.504, 0.493)).set_index("row")
    assert frame.loc["IML", "noise_floor"] == pytest.approx(0.7)
    assert frame["close_to"].tolist() == ["RML", "IML", ""]
    assert "noise_floor" not in cell_frame(measured(repeats=()))


def test_a_repeat_without_a_score_leaves_the_floor_unknown() -> None:
    made = measured()
    assert made.floor is None
    assert "Noise floor: not measured, for again-2, again-3 has no score yet" in markdown(made)


def test_comparisons_go_by_the_measured_floor_unless_another_is_stated() -> None:
    comparison = compare_rows(measured(0.504, 0.493), "IML")
    assert dict(
        zip(comparison.differences["row"], comparison.differences["below_floor"], strict=True)
    ) == {"RML": True, "MT": False}
    text = comparison_markdown(comparison)
    assert "≈: no larger than what rounding alone does, 0.700 (largest of runs" in text


def test_statistics_list_the_pairs() -> None:
    made = measured(0.504, 0.493)
    text = statistics_markdown(made, cell_statistics(made))
    assert "No further apart than that: IML and RML (1/8)." in text


def test_columns_of_other_metrics_have_a_floor_of_their_own() -> None:
    columns = (ColumnSpec(label="1/8"), ColumnSpec(label="accuracy", metric="final/accuracy"))
    runs = [recorded("RML-1/8-0", 0.5), recorded("again-2", 0.52, scores={"final/accuracy": 0.93})]
    floor = table_of(runs, rows=ROWS, columns=columns, repeats=REPEATS[:1]).floor
    assert floor is not None
    assert floor.of("1/8") == pytest.approx(2.0)
    assert floor.of("accuracy") == pytest.approx(3.0)
    assert floor.shown(1) == "2.000 (1/8), 3.000 (accuracy)"
