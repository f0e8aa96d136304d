"""Footnotes and bold type: protocols, reported numbers, uncommitted code, the best of a column."""

import pytest

from rml_dashboards.contract.planned import ReportedNumber
from rml_dashboards.tables.specification import ColumnSpec, RowSpec
from tests.support.dashboards.small_tables import OTHER_PROTOCOL, notes_of, only, runs_of, table_of
from tests.support.recorded import PROTOCOL, recorded


def test_a_column_that_mixes_protocols_is_marked_entry_by_entry_and_has_no_best() -> None:
    runs = runs_of("IML", 0.5, 0.5, 0.5) + runs_of("RML", 0.6, 0.6, 0.6, protocol=OTHER_PROTOCOL)
    table = table_of(runs, rows=(RowSpec(label="IML"), RowSpec(label="RML")))
    iml, rml = table.cells()
    assert notes_of(table, iml)[0].startswith(
        f"Protocol `{PROTOCOL}`. This column holds scores of several protocols"
    )
    assert notes_of(table, rml)[0].startswith(f"Protocol `{OTHER_PROTOCOL}`.")
    assert not iml.best and not rml.best


def test_columns_of_different_protocols_need_no_mark() -> None:
    runs = runs_of("IML", 0.5, column="a") + runs_of(
        "IML", 0.6, column="b", protocol=OTHER_PROTOCOL
    )
    table = table_of(runs, columns=(ColumnSpec(label="a"), ColumnSpec(label="b")), num_seeds=1)
    assert table.notes == ()


def test_seeds_of_different_protocols_are_not_averaged() -> None:
    runs = [recorded("IML-1/8-0", 0.5), recorded("IML-1/8-1", 0.7, protocol=OTHER_PROTOCOL)]
    table = table_of(runs, num_seeds=2)
    entry = only(table)
    assert (entry.status, entry.mean, entry.n) == ("mixed", None, 2)
    assert notes_of(table, entry) == [
        f"Seeds were scored under different protocols and are not averaged: `{OTHER_PROTOCOL}`, "
        f"`{PROTOCOL}`."
    ]


@pytest.mark.parametrize(
    ("protocol", "comparable"), [("", True), ("scenes-32x48", True), ("cityscapes", False)]
)
def test_a_number_reported_under_another_protocol_is_marked_and_not_subtracted(
    protocol: str, comparable: bool
) -> None:
    reported = {"1/8": (ReportedNumber(mean=48.0, source="paper", protocol=protocol),)}
    table = table_of(runs_of("IML", 0.5, 0.5, 0.5), rows=(RowSpec(label="IML", reported=reported),))
    entry = only(table)
    assert entry.difference == (2.0 if comparable else None)
    expected = (
        []
        if comparable
        else ["Reported under protocol `cityscapes`: not comparable with our scores of this "]
    )
    assert [note[: len(text)] for note, text in zip(table.notes, expected, strict=True)] == expected


def test_ours_is_compared_with_the_first_reported_number() -> None:
    values = (
        ReportedNumber(mean=48.0, source="paper, v2"),
        ReportedNumber(mean=47.0, source="paper, v1", note="Older"),
    )
    table = table_of(
        runs_of("IML", 0.5, 0.5, 0.5), rows=(RowSpec(label="IML", reported={"1/8": values}),)
    )
    entry = only(table)
    assert entry.difference == pytest.approx(2.0)
    assert [[table.notes[i - 1] for i in marks] for marks in entry.reported_marks] == [
        ["Reported by paper, v2."],
        ["Reported by paper, v1.", "Older."],
    ]


def test_a_single_source_is_not_marked_at_every_number() -> None:
    reported = {"1/8": (ReportedNumber(mean=48.0, source="paper"),)}
    table = table_of(
        [], rows=(RowSpec(label="A", reported=reported), RowSpec(label="B", reported=reported))
    )
    assert table.notes == ()


def test_uncommitted_code_is_noted_where_it_made_a_score() -> None:
    clean = RowSpec(label="IML")
    dirty = RowSpec(label="RML")
    runs = [
        *runs_of("IML", 0.5, 0.5, 0.5),
        recorded("RML-1/8-0", 0.5),
        recorded("RML-1/8-1", 0.5, dirty="true"),
        recorded("RML-1/8-2", status="FAILED", dirty="true"),
    ]
    table = table_of(runs, rows=(clean, dirty))
    first, second = table.cells()
    assert notes_of(table, first) == []
    assert notes_of(table, second) == [
        "2 of 3 runs have a score: 1 failed.",
        "Made by code with uncommitted changes (on top of abc1234).",
    ]


def test_smaller_micro_batches_are_noted_where_they_made_a_score() -> None:
    runs = [
        *runs_of("IML", 0.5, 0.5, 0.5),
        recorded("RML-1/8-0", 0.5),
        recorded("RML-1/8-1", 0.5, micro_batches="2"),
        recorded("RML-1/8-2", 0.5, micro_batches="4"),
    ]
    table = table_of(runs, rows=(RowSpec(label="IML"), RowSpec(label="RML")))
    first, second = table.cells()
    assert notes_of(table, first) == []
    (note,) = notes_of(table, second)
    assert note.startswith("2 of 3 runs cut their steps into 2, 4 times as many micro-batches")


def test_equal_footnotes_share_their_number() -> None:
    runs = runs_of("IML", 0.5, 0.5) + runs_of("RML", 0.5, 0.5)
    table = table_of(runs, rows=(RowSpec(label="IML"), RowSpec(label="RML")))
    assert table.notes == ("2 of 3 runs have a score: 1 missing.",)
    assert [entry.marks for entry in table.cells()] == [(1,), (1,)]


@pytest.mark.parametrize(
    ("iml", "rml", "higher_is_better", "best"),
    [
        ((0.5, 0.5, 0.5), (0.6, 0.6, 0.6), True, {"RML"}),
        ((0.5, 0.5, 0.5), (0.6, 0.6, 0.6), False, {"IML"}),
        ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), True, {"IML", "RML"}),
        ((0.5, 0.5, 0.5), (0.6, 0.6), True, set()),  # the leader lacks a seed
        ((0.5, 0.5), (0.6, 0.6, 0.6), True, {"RML"}),
        ((0.5, 0.5, 0.5), (), True, set()),  # the other may still win
    ],
)
def test_best_of_a_column(
    iml: tuple[float, ...], rml: tuple[float, ...], higher_is_better: bool, best: set[str]
) -> None:
    runs = runs_of("IML", *iml) + runs_of("RML", *rml)
    table = table_of(
        runs, rows=(RowSpec(label="IML"), RowSpec(label="RML")), higher_is_better=higher_is_better
    )
    assert {entry.row for entry in table.cells() if entry.best} == best


def test_a_cell_that_failed_does_not_keep_the_others_from_being_best() -> None:
    runs = runs_of("A", 0.5) + runs_of("B", 0.6) + [recorded("C-1/8-0", status="FAILED")]
    table = table_of(runs, rows=tuple(RowSpec(label=label) for label in "ABC"), num_seeds=1)
    assert [entry.best for entry in table.cells()] == [False, True, False]


def test_a_single_row_is_not_the_best_of_anything() -> None:
    assert not only(table_of(runs_of("IML", 0.5, 0.5, 0.5))).best


def test_warnings_of_the_reader_reach_the_table() -> None:
    runs = [recorded("IML-1/8-0", 0.5), recorded("IML-1/8-0", 0.4, mlflow_run_id="again")]
    table = table_of(runs, num_seeds=1)
    assert len(table.warnings) == 1 and "has 2 MLflow runs" in table.warnings[0]
