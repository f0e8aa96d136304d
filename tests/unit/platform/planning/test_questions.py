"""What a study asks, from its file to its table."""

from pathlib import Path

import pytest

from rml_dashboards.studies.table import table_spec
from rml_platform.planning.plan import make_plan
from rml_platform.planning.plan_file.writing import to_written
from rml_platform.planning.plan_file.written_plan import PLAN, WrittenPlan
from rml_platform.study.schema import load_study
from rml_trainers.errors import ConfigError
from tests.support.platform import studies
from tests.support.platform.studies import write_study

STUDY = studies.STUDY.replace("    metric: final/accuracy\n", "")
QUESTIONS = """\
questions:
  - title: Does it help?
    asked: before the runs
    differences: [{row: RML, against: Supervised}]
  - title: On one seed, beyond the first column?
    columns: [1/2]
    beyond: 1/4
    seeds: [1]
    differences: [{row: RML, against: Supervised}]
"""


def written(folder: Path, questions: str, profile: str | None = None) -> WrittenPlan:
    study = load_study(write_study(folder, f"{STUDY}{questions}"), (), profile)
    plan = make_plan(study, data_root=None, cache_root=folder / "cache")
    return to_written(plan, (), folder)


def test_questions_come_through_the_plan_to_the_table(tmp_path: Path) -> None:
    plan = written(tmp_path, QUESTIONS)
    again = PLAN.decode(PLAN.encode(plan), "plan.json")
    first, second = table_spec(again).questions
    assert (first.title, first.asked) == ("Does it help?", "before the runs")
    assert (first.differences[0].row, first.differences[0].against) == ("RML", "Supervised")
    assert (first.columns, first.seeds) == (None, None)
    assert (second.columns, second.beyond, second.seeds) == (("1/2",), "1/4", (1,))


def test_no_run_changes_by_what_is_asked(tmp_path: Path) -> None:
    assert written(tmp_path, QUESTIONS).runs == written(tmp_path, "").runs


@pytest.mark.parametrize(
    ("questions", "wanted"),
    [
        ("[{title: T, differences: []}]", "at least one"),
        ("[{title: '', differences: [{row: RML, against: Supervised}]}]", "the question, in words"),
        ("[{title: T, differences: [{row: RML, against: RML}]}]", "another row"),
        ("[{title: T, differences: [{row: RLM, against: Supervised}]}]", "did you mean 'RML'"),
        ("[{title: T, columns: [1/3], differences: [{row: RML, against: Supervised}]}]", "1/3"),
        ("[{title: T, beyond: 1/3, differences: [{row: RML, against: Supervised}]}]", "1/3"),
        (
            "[{title: T, columns: [], differences: [{row: RML, against: Supervised}]}]",
            "leave it out",
        ),
        (
            "[{title: T, columns: [1/2], beyond: 1/2, "
            "differences: [{row: RML, against: Supervised}]}]",
            "not among `columns`",
        ),
    ],
)
def test_what_cannot_be_asked_is_told_with_its_line(
    tmp_path: Path, questions: str, wanted: str
) -> None:
    path = write_study(tmp_path, f"{STUDY}questions: {questions}\n")
    with pytest.raises(ConfigError) as told:
        load_study(path, (), None)
    assert wanted in str(told.value)
    assert f"{path}:{len(STUDY.splitlines()) + 1}" in str(told.value)
    assert "questions" in str(told.value)


def test_a_title_twice_and_a_profile_of_another_size(tmp_path: Path) -> None:
    one = "{title: T, asked: before, differences: [{row: RML, against: Supervised}]}"
    twice = write_study(tmp_path, f"{STUDY}questions: [{one}, {one}]\n")
    with pytest.raises(ConfigError, match="title given twice"):
        load_study(twice, (), None)
    titled = STUDY.replace("  small:\n", "  small:\n    title: In small\n")
    file = write_study(tmp_path, f"{titled}questions: [{one}]\n")
    assert load_study(file, (), None).questions[0].asked == "before"
    assert load_study(file, (), "small").questions[0].asked == "", "other runs answer"


def test_two_metrics_are_not_subtracted_from_each_other(tmp_path: Path) -> None:
    text = "questions: [{title: T, beyond: 1/4, differences: [{row: RML, against: Supervised}]}]"
    with pytest.raises(ConfigError, match="final/accuracy"):
        load_study(write_study(tmp_path, f"{studies.STUDY}{text}\n"), (), None)
