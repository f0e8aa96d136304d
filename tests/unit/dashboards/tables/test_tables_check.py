"""`--check`: ours against reported numbers and against a table that was written before."""

from pathlib import Path

import pytest

from rml_dashboards.contract.planned import ReportedNumber
from rml_dashboards.errors import DashboardError
from rml_dashboards.tables.check import (
    CheckLine,
    check_golden,
    check_reported,
    check_text,
    is_passed,
)
from rml_dashboards.tables.entries import Table
from rml_dashboards.tables.render import csv
from rml_dashboards.tables.specification import ColumnSpec, RowSpec
from tests.support.dashboards.small_tables import OTHER_PROTOCOL, runs_of, table_of
from tests.support.recorded import PROTOCOL


def reporting(mean: float, *scores: float, protocol: str = "", own: float | None = None) -> Table:
    """One row whose seeds scored so, with a number that somebody reported; tolerance 0.5."""
    value = ReportedNumber(mean=mean, protocol=protocol)
    rows = (RowSpec(label="IML", reported={"1/8": (value,)}, tolerance=own),)
    return table_of(runs_of("IML", *scores), rows=rows, num_seeds=2, tolerance=0.5)


def verdicts(lines: list[CheckLine]) -> list[str]:
    return [line.verdict for line in lines]


@pytest.mark.parametrize(
    ("mean", "verdict"),
    [(50.5, "within"), (49.5, "within"), (50.51, "differs"), (49.4, "differs")],
)
def test_the_tolerance_of_the_table(mean: float, verdict: str) -> None:
    lines = check_reported(reporting(mean, 0.5, 0.5))
    assert verdicts(lines) == [verdict]
    assert is_passed(lines) == (verdict == "within")


def test_a_row_may_have_a_tolerance_of_its_own() -> None:
    assert verdicts(check_reported(reporting(52.0, 0.5, 0.5, own=2.0))) == ["within"]


def test_a_cell_that_is_not_complete_is_not_as_expected() -> None:
    (line,) = check_reported(reporting(50.0, 0.5))
    assert (line.verdict, line.reason) == ("no score", "1 of 2 runs have a score")
    (line,) = check_reported(reporting(50.0))
    assert (line.verdict, line.reason, line.found) == ("no score", "missing", None)


def test_another_protocol_is_not_compared_and_alone_is_no_pass() -> None:
    lines = check_reported(reporting(50.0, 0.9, 0.9, protocol="elsewhere"))
    assert verdicts(lines) == ["not comparable"]
    assert not is_passed(lines)


def test_what_cannot_be_checked_says_why() -> None:
    table = reporting(50.0, 0.5, 0.5)
    stated = table_of(runs_of("IML", 0.5), rows=table.spec.rows)
    with pytest.raises(DashboardError, match=r"nothing says how near .*`table: \{tolerance: …\}`"):
        check_reported(stated)
    with pytest.raises(DashboardError, match="nothing to check"):
        check_reported(table_of(runs_of("IML", 0.5), tolerance=0.5))


def test_a_table_is_as_it_was_written(tmp_path: Path) -> None:
    golden = tmp_path / "golden.csv"
    before = table_of(runs_of("IML", 1 / 3, 2 / 7, 0.1))
    golden.write_text(csv(before))
    assert verdicts(check_golden(before, golden)) == ["within"]
    now = table_of(runs_of("IML", 1 / 3, 2 / 7, 0.1001))
    (line,) = check_golden(now, golden)
    assert line.verdict == "differs"
    near = table_of(runs_of("IML", 1 / 3, 2 / 7, 0.1001), tolerance=0.1)
    assert verdicts(check_golden(near, golden)) == ["within"]


def test_labels_that_look_like_no_value_are_labels(tmp_path: Path) -> None:
    labels = ("None", "NA", "null", "nan", "N/A", "1.0")
    scores = [0.1 * place for place in range(1, 7)]
    rows = tuple(RowSpec(label=label) for label in labels)
    columns = (ColumnSpec(label="n/a"), ColumnSpec(label="NULL"))
    runs = [
        run
        for label, score in zip(labels, scores, strict=True)
        for column in columns
        for run in runs_of(label, score, column=column.label)
    ]
    golden = tmp_path / "golden.csv"
    table = table_of(runs, rows=rows, columns=columns, num_seeds=1)
    golden.write_text(csv(table))
    lines = check_golden(table, golden)
    assert [line.row for line in lines] == [label for label in labels for _ in columns]
    assert set(verdicts(lines)) == {"within"}


@pytest.mark.parametrize(
    ("then", "now", "verdict"),
    [
        (PROTOCOL, PROTOCOL, "within"),
        (OTHER_PROTOCOL, PROTOCOL, "differs"),
        ("", PROTOCOL, "within"),
        (PROTOCOL, "", "within"),
    ],
)
def test_a_golden_table_of_another_protocol_is_not_as_expected(
    then: str, now: str, verdict: str, tmp_path: Path
) -> None:
    golden = tmp_path / "golden.csv"
    golden.write_text(csv(table_of(runs_of("IML", 0.5, protocol=then), num_seeds=1)))
    lines = check_golden(table_of(runs_of("IML", 0.5, protocol=now), num_seeds=1), golden)
    assert verdicts(lines) == [verdict]
    assert lines[0].reason == ("another protocol" if verdict == "differs" else "")
    assert is_passed(lines) == (verdict == "within")


def test_a_golden_table_without_protocols_is_compared(tmp_path: Path) -> None:
    golden = tmp_path / "golden.csv"
    golden.write_text("row,column,mean\nIML,1/8,50\n")
    assert verdicts(check_golden(table_of(runs_of("IML", 0.5), num_seeds=1), golden)) == ["within"]


def test_a_file_that_is_no_golden_table_is_refused(tmp_path: Path) -> None:
    table = table_of(runs_of("IML", 0.5))
    golden = tmp_path / "golden.csv"
    for content, part in (
        ("a,b\n1,2\n", "no table that"),
        ("row,column,mean\nIML,1/8,\n", "no cell has a mean"),
        ("row,column,mean\nRML,1/8,50\n", "has no cell RML, 1/8"),
        ("row,column,mean\nIML,1/8,50\nIML,1/8,51\n", "is there twice"),
        ("row,column,mean\nIML,1/8,much\n", "no table that"),
    ):
        golden.write_text(content)
        with pytest.raises(DashboardError, match=part):
            check_golden(table, golden)
    with pytest.raises(DashboardError, match="no such file"):
        check_golden(table, tmp_path / "none.csv")


def test_the_difference_is_readable() -> None:
    text = check_text(check_reported(reporting(51.25, 0.5, 0.5)), digits=1)
    line = [part.strip() for part in text.splitlines()[2].strip("|").split("|")]
    assert line == ["differs", "IML", "1/8", "51.25", "50.00", "-1.25", "0.5"]
    assert text.endswith("1 of 1 numbers compared, 1 not as expected.\n")
