"""What a study asks: which runs answer, and what is corrected together."""

import csv
import dataclasses
from pathlib import Path

import pytest

from rml_dashboards.comparisons.publish import write_statistics
from rml_dashboards.comparisons.questions import answers
from rml_dashboards.contract.planned import PlannedDifference, PlannedQuestion
from rml_dashboards.statistics.significance import sign_flip_p
from rml_dashboards.tables.entries import Table
from rml_dashboards.tables.specification import ColumnSpec, RowSpec
from tests.support.dashboards.small_tables import OTHER_PROTOCOL, runs_of, table_of
from tests.support.recorded import PROTOCOL

RIGHT = {"IML": (0.60, 0.61, 0.62, 0.63, 0.64), "RML": (0.61, 0.63, 0.63, 0.65, 0.65)}
WRONG = {"IML": (0.50, 0.50, 0.50, 0.50, 0.50), "RML": (0.51, 0.52, 0.53, 0.54, 0.55)}


def asked(*questions: PlannedQuestion, wrong_of: str = PROTOCOL, num_wrong: int = 5) -> Table:
    """Two rows, right and wrong labels, and what is asked about them."""
    runs = [
        run
        for column, scores in (("right", RIGHT), ("wrong", WRONG))
        for row, values in scores.items()
        for run in runs_of(
            row,
            *values[: num_wrong if column == "wrong" else 5],
            column=column,
            protocol=wrong_of if (row, column) == ("RML", "wrong") else PROTOCOL,
        )
    ]
    table = table_of(
        runs,
        rows=tuple(RowSpec(label=row) for row in RIGHT),
        columns=(ColumnSpec(label="right"), ColumnSpec(label="wrong")),
        num_seeds=5,
    )
    return dataclasses.replace(table, spec=dataclasses.replace(table.spec, questions=questions))


def question(**changes: object) -> PlannedQuestion:
    plain = PlannedQuestion(
        title="Does it help?", differences=(PlannedDifference(row="RML", against="IML"),)
    )
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


def test_every_column_is_a_line_and_all_lines_are_corrected_together() -> None:
    lines = answers(asked(question()))
    assert lines["column"].tolist() == ["right", "wrong"]
    assert lines["points"].tolist() == [
        pytest.approx((1, 2, 1, 2, 1)),
        pytest.approx((1, 2, 3, 4, 5)),
    ]
    assert lines["mean"].tolist() == pytest.approx([1.4, 3.0])
    assert lines["above"].tolist() == [5, 5]
    assert lines["p_permutation"].tolist() == pytest.approx([2 / 32] * 2)
    assert lines["p_holm"].tolist() == pytest.approx([4 / 32] * 2)


def test_each_question_is_a_family_of_its_own() -> None:
    one = question(columns=("right",))
    other = question(title="And the other way?", columns=("wrong",))
    lines = answers(asked(one, other))
    assert lines["p_holm"].tolist() == pytest.approx([2 / 32] * 2)


def test_beyond_a_column_is_the_difference_of_the_differences_run_by_run() -> None:
    (line,) = answers(asked(question(beyond="right"))).to_dict("records")
    assert line["column"] == "wrong"
    assert line["points"] == pytest.approx((0, 0, 2, 2, 4))
    assert line["above"] == 3, "two are noughts up to rounding"
    assert line["p_permutation"] == pytest.approx(sign_flip_p([0, 0, 2, 2, 4]))


def test_only_the_seeds_that_are_asked_about_answer() -> None:
    (line,) = answers(asked(question(columns=("wrong",), seeds=(3, 4)))).to_dict("records")
    assert line["points"] == pytest.approx((4, 5))
    assert (line["n"], line["n_expected"]) == (2, 2)


def test_what_cannot_be_tested_yet_counts_in_the_correction() -> None:
    lines = answers(asked(question(), num_wrong=2))
    assert lines["n"].tolist() == [5, 2]
    assert lines["p_holm"].isna().tolist() == [False, True]
    assert lines["p_holm"][0] == pytest.approx(4 / 32)
    none = answers(asked(question(), num_wrong=0))
    assert none["n"].tolist() == [5, 0]
    assert none["p_holm"][0] == pytest.approx(4 / 32)


@pytest.mark.parametrize("beyond", ["", "right"])
def test_another_protocol_is_not_compared_and_that_is_said(beyond: str, tmp_path: Path) -> None:
    table = asked(question(beyond=beyond), wrong_of=OTHER_PROTOCOL)
    lines = answers(table)
    assert lines["n"].tolist() == ([0] if beyond else [5, 0])
    said = "Column wrong: scores of RML under another protocol than that of IML are left out."
    assert lines["note"].tolist() == ([said] if beyond else ["", said])
    markdown, *_ = write_statistics(table, tmp_path)
    assert f"\n- {said}\n" in markdown.read_text()


def test_files_say_what_was_asked_and_when(tmp_path: Path) -> None:
    table = asked(question(asked="before the runs", beyond="right"))
    written = {path.name: path for path in write_statistics(table, tmp_path)}
    name = table.spec.name
    text = written[f"{name}-questions.md"].read_text()
    assert "## Does it help?\n\nAsked: before the runs\n" in text
    (shown,) = [one for one in text.splitlines() if one.startswith("| RML − IML")]
    assert "wrong, beyond right" in shown and "5 of 5" in shown and "+1.6 ± 1.7" in shown
    (line,) = csv.DictReader(written[f"{name}-questions.csv"].open())
    assert (line["row"], line["against"], line["column"]) == ("RML", "IML", "wrong")
    assert len(line["points"].split()) == 5


def test_a_study_that_asks_nothing_has_no_such_file(tmp_path: Path) -> None:
    assert not [path for path in write_statistics(asked(), tmp_path) if "questions" in path.name]
