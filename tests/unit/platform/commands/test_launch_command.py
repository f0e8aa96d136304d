"""`rml launch` of several studies: all are checked, then carried out together, and each table is
shown."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rml_platform.cli import app
from rml_platform.launch.outcomes import LaunchReport
from rml_platform.planning.plan import Plan
from rml_platform.run.run_folder import Failure
from rml_trainers.errors import ConfigError
from tests.support.platform.studies import STUDY, write_study

Launched = list[list[str]]
"""Names of the studies of each launch."""
Outcome = Callable[[Callable[[list[list[str]]], LaunchReport]], Launched]


@pytest.fixture
def outcome(monkeypatch: pytest.MonkeyPatch) -> Outcome:
    """Lets launches end as told by a function of the run ids of each study; returns the launches,
    as they come."""

    def set_up(report: Callable[[list[list[str]]], LaunchReport]) -> Launched:
        launched: Launched = []

        def carry_out(plans: Sequence[Plan], **_: object) -> LaunchReport:
            launched.append([plan.study.name for plan in plans])
            return report([[run.run_id for run in plan.runs] for plan in plans])

        monkeypatch.setattr("rml_platform.launch.launch.launch", carry_out)
        monkeypatch.setattr(
            "rml_platform.views.summary._print_table", lambda *_: []
        )  # nothing was recorded
        return launched

    return set_up


def two_studies(folder: Path, second: str = "") -> list[str]:
    names = []
    for name, text in (("one", STUDY), ("two", second or STUDY)):
        (folder / name).mkdir()
        names.append(
            str(write_study(folder / name, text.replace("name: tiny", f"name: {name}", 1)))
        )
    return names


def rml(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(words), env={"COLUMNS": "300"})
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


FAILURE = Failure(
    kind="NonFiniteLossError",
    message="loss is nan",
    traceback="",
    attempt=1,
    launch_id="launch-1",
    time=0.0,
)


def test_each_study_is_told_what_became_of_its_own_runs(tmp_path: Path, outcome: Outcome) -> None:
    def report(runs: list[list[str]]) -> LaunchReport:
        other, shared = runs[0][1:3]
        return LaunchReport(failed={other: FAILURE}, done=[shared])

    launched = outcome(report)
    one, two = two_studies(tmp_path, STUDY.replace("seeds: [0, 1]", "seeds: [0]"))
    code, text = rml("launch", one, two, "--out", str(tmp_path / "out"))
    assert (code, launched) == (1, [["one", "two"]])
    assert f"rml launch {one} --out {tmp_path / 'out'}  # finish what is left" in text.replace(
        "\n", ""
    )
    assert text.index("1 finished, 1 failed") < text.rindex("1 finished (")


def test_ctrl_c_ends_them_all(tmp_path: Path, outcome: Outcome) -> None:
    launched = outcome(lambda runs: LaunchReport(left=runs[0], stopped_with=130))
    code, text = rml("launch", *two_studies(tmp_path), "--out", str(tmp_path / "out"))
    assert (code, launched) == (130, [["one", "two"]])
    assert "stopped; 8 left" in text


def test_cancelled_runs_are_told_with_the_way_back(tmp_path: Path, outcome: Outcome) -> None:
    outcome(lambda runs: LaunchReport(left=runs[0][:1], held_back={runs[0][0]: "cancelled"}))
    study = str(write_study(tmp_path))
    code, text = rml("launch", study, "--out", str(tmp_path / "out"))
    assert (code, "1 cancelled (" in text, "finish what is left" in text) == (0, True, False)
    way_back = f"rml cancel {study} --out {tmp_path / 'out'} --undo"
    assert way_back in text.replace("\n", "")


def test_a_study_given_twice_is_one(tmp_path: Path, outcome: Outcome) -> None:
    launched = outcome(lambda runs: LaunchReport(done=runs[0]))
    study = str(write_study(tmp_path))
    rml("launch", study, study, "--out", str(tmp_path / "out"))
    assert launched == [["tiny"]]


def test_an_error_in_any_file_comes_before_anything_starts(
    tmp_path: Path, outcome: Outcome
) -> None:
    launched = outcome(lambda runs: LaunchReport())
    one, two = two_studies(tmp_path, STUDY.replace("method.name: rml", "method.name: rlm"))
    with pytest.raises(ConfigError, match="did you mean 'rml'"):
        rml("launch", one, two, "--out", str(tmp_path / "out"))
    assert launched == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--deadline", "soon"], "expected a time from now"),
        (["--notify", "hooks.slack.com/x"], "expected addresses that begin with http"),
        (["--ship"], "give its --address"),
        (["--without-ray", "--max-concurrent", "2"], "does not go with --max-concurrent"),
        (["--set", "name=two"], "is called 'two', too"),
    ],
)
def test_a_wrong_option_is_told_before_anything_is_prepared_or_written(
    options: list[str],
    said: str,
    tmp_path: Path,
    outcome: Outcome,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    launched = outcome(lambda runs: LaunchReport())
    monkeypatch.setattr("rml_platform.planning.plan_from_file.planned", pytest.fail)
    with pytest.raises(ConfigError, match=said):
        rml("launch", *two_studies(tmp_path), *options, "--out", str(tmp_path / "out"))
    assert launched == []
    assert not (tmp_path / "out").exists()


def test_what_is_left_is_launched_at_the_same_size(tmp_path: Path, outcome: Outcome) -> None:
    outcome(lambda runs: LaunchReport(left=runs[0]))
    study = str(write_study(tmp_path))
    _, text = rml("launch", study, "--profile", "small", "--out", str(tmp_path / "out"))
    assert f"rml launch {study} --profile small --out" in text.replace("\n", "")
