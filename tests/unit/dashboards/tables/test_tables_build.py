"""What becomes of a cell: its status, its numbers and the runs behind them."""

import pytest

from rml_dashboards.contract.planned import ReportedNumber
from rml_dashboards.records.records import to_records
from rml_dashboards.tables.filling import fill_table
from rml_dashboards.tables.specification import CellSpec, ColumnSpec, RowSpec, TableSpec
from tests.support.dashboards.small_tables import notes_of, only, runs_of, table_of
from tests.support.recorded import PROTOCOL, recorded


@pytest.mark.parametrize(
    ("states", "status", "note"),
    [
        (("done", "done", "done"), "complete", None),
        (("done", "done", "failed"), "partial", "2 of 3 runs have a score: 1 failed."),
        (("done", "running", None), "partial", "1 of 3 runs have a score: 1 running, 1 missing."),
        (
            ("running", "failed", "failed"),
            "running",
            "0 of 3 runs have a score: 1 running, 2 failed.",
        ),
        (("failed", "failed", "failed"), "failed", None),
        (("failed", None, None), "failed", "0 of 3 runs have a score: 1 failed, 2 missing."),
        (("unscored", "unscored", "unscored"), "unscored", None),
        (
            ("stopped", "stopped", None),
            "stopped",
            "0 of 3 runs have a score: 2 stopped, 1 missing.",
        ),
        ((None, None, None), "missing", None),
    ],
)
def test_status_of_a_cell(states: tuple[str | None, ...], status: str, note: str | None) -> None:
    mlflow_status = {"done": "FINISHED", "unscored": "FINISHED", "stopped": "KILLED"}
    runs = [
        recorded(
            f"IML-1/8-{seed}",
            0.5 if state == "done" else None,
            status=mlflow_status.get(state, state.upper()),
        )
        for seed, state in enumerate(states)
        if state is not None
    ]
    table = table_of(runs)
    entry = only(table)
    assert entry.status == status
    assert notes_of(table, entry) == ([note] if note else [])
    assert [trace.state for trace in entry.traces] == [state or "missing" for state in states]
    assert (entry.mean is None) == ("done" not in states)


def test_numbers_are_scaled_and_every_run_is_named() -> None:
    entry = only(table_of(runs_of("IML", 0.60, 0.62, 0.64)))
    assert (entry.n, entry.n_expected) == (3, 3)
    assert entry.mean == pytest.approx(62.0)
    assert entry.std == pytest.approx(2.0)
    assert [(t.seed, t.run_id, t.mlflow_run_id) for t in entry.traces] == [
        (seed, f"IML-1/8-{seed}", f"mlflow-IML-1/8-{seed}") for seed in range(3)
    ]
    assert [t.value for t in entry.traces] == [pytest.approx(60 + 2 * seed) for seed in range(3)]
    assert {(t.protocol, t.code_version, t.device, t.ended) for t in entry.traces} == {
        (PROTOCOL, "abc1234", "cpu", "2026-11-05")
    }


def test_one_seed_has_no_deviation() -> None:
    entry = only(table_of(runs_of("IML", 0.5), num_seeds=1))
    assert (entry.status, entry.mean, entry.std, entry.ci_low) == ("complete", 50.0, None, None)


def test_a_score_that_is_not_a_number_is_no_score() -> None:
    assert only(table_of(runs_of("IML", float("nan")), num_seeds=1)).status == "unscored"


def test_a_score_of_an_unfinished_run_does_not_count() -> None:
    entry = only(table_of([recorded("IML-1/8-0", 0.5, status="FAILED")], num_seeds=1))
    assert (entry.status, entry.mean) == ("failed", None)


def test_columns_may_read_different_metrics() -> None:
    """Table 5 of the paper prints both students of one pair: one run fills two cells."""
    columns = (
        ColumnSpec(label="student 1"),
        ColumnSpec(label="student 2", metric="val/student_2/miou"),
    )
    rows = (RowSpec(label="pair"),)
    spec = TableSpec(name="t", title="T", rows=rows, columns=columns)
    cells = [
        CellSpec(row="pair", column=column.label, seed=0, run_id="pair-0") for column in columns
    ]
    table = fill_table(
        spec, cells, to_records([recorded("pair-0", 0.5, scores={"val/student_2/miou": 0.25})])
    )
    assert [entry.mean for entry in table.cells()] == [50.0, 25.0]


def test_a_run_may_fill_cells_of_two_rows() -> None:
    rows = (RowSpec(label="IML"), RowSpec(label="IML (+full noises)"))
    spec = TableSpec(name="t", title="T", rows=rows, columns=(ColumnSpec(label="1/8"),))
    cells = [CellSpec(row=row.label, column="1/8", seed=0, run_id="shared") for row in rows]
    table = fill_table(spec, cells, to_records([recorded("shared", 0.5)]))
    assert [(entry.mean, entry.status) for entry in table.cells()] == [(50.0, "complete")] * 2


def test_cells_outside_the_study_and_quoted_cells() -> None:
    quoted = {"1/8": (ReportedNumber(mean=63.0, source="DMT"),)}
    table = table_of(
        runs_of("IML", 0.5, 0.5, 0.5),
        rows=(RowSpec(label="IML"), RowSpec(label="DMT", reported_only=True, reported=quoted)),
        columns=(ColumnSpec(label="1/8"), ColumnSpec(label="1/4")),
    )
    assert [[entry.status for entry in line] for line in table.entries] == [
        ["complete", "missing"],
        ["reported", "empty"],
    ]


def test_no_cells_and_no_runs_give_an_empty_table() -> None:
    table = table_of([], rows=(RowSpec(label="DMT", reported_only=True),))
    assert [entry.status for entry in table.cells()] == ["empty"]
