"""`rml launch` of several studies: all are checked, then each is carried out and its table
shown."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rml_platform.cli import app
from rml_platform.launch.outcomes import LaunchReport
from rml_platform.planning.plan import Plan
from rml_platform.run.run_folder import Failure
from rml_trainers.errors import ConfigError
from tests.support.platform.studies import STUDY, write_study

Launched = list[str]


@pytest.fixture
def outcome(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, LaunchReport]], Launched]:
    """Lets launches end as told, by the study's name; returns the names of those that were carried
    out, as it grows."""

    def set_up(reports: dict[str, LaunchReport]) -> Launched:
        launched: Launched = []

        def carry_out(plan: Plan, **_: object) -> LaunchReport:
            launched.append(plan.study.name)
            return reports[plan.study.name]

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
FAILED = LaunchReport(failed={"r": FAILURE})


def test_a_failed_run_keeps_no_other_study_waiting(
    tmp_path: Path, outcome: Callable[[dict[str, LaunchReport]], Launched]
) -> None:
    launched = outcome({"one": FAILED, "two": LaunchReport(done=["r"])})
    one, two = two_studies(tmp_path)
    code, text = rml("launch", one, two, "--out", str(tmp_path / "out"))
    assert (code, launched) == (1, ["one", "two"])
    assert f"rml launch {one} --out {tmp_path / 'out'}  # finish what is left" in text.replace(
        "\n", ""
    )
    assert text.index("1 failed") < text.index("1 finished")


def test_ctrl_c_ends_them_all(
    tmp_path: Path, outcome: Callable[[dict[str, LaunchReport]], Launched]
) -> None:
    launched = outcome({"one": LaunchReport(left=["r"], stopped_with=130)})
    code, text = rml("launch", *two_studies(tmp_path), "--out", str(tmp_path / "out"))
    assert (code, launched) == (130, ["one"])
    assert "stopped; 1 left" in text


def test_an_error_in_any_file_comes_before_anything_starts(
    tmp_path: Path, outcome: Callable[[dict[str, LaunchReport]], Launched]
) -> None:
    launched = outcome({"one": LaunchReport()})
    one, two = two_studies(tmp_path, STUDY.replace("method.name: rml", "method.name: rlm"))
    with pytest.raises(ConfigError, match="did you mean 'rml'"):
        rml("launch", one, two, "--out", str(tmp_path / "out"))
    assert launched == []


def test_what_is_left_is_launched_at_the_same_size(
    tmp_path: Path, outcome: Callable[[dict[str, LaunchReport]], Launched]
) -> None:
    outcome({"tiny": LaunchReport(left=["r"])})
    study = str(write_study(tmp_path))
    _, text = rml("launch", study, "--profile", "small", "--out", str(tmp_path / "out"))
    assert f"rml launch {study} --profile small --out" in text.replace("\n", "")
