"""`rml chaos` as a person calls it, as far as nothing has to be trained."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rml_platform.chaos.checks.tally import Account
from rml_platform.chaos.faults.catalogue import FAULTS
from rml_platform.chaos.monkey import Monkey
from rml_platform.cli import app
from rml_trainers.errors import ConfigError
from tests.support.platform.command import rml
from tests.support.platform.studies import write_study


def test_the_list_names_every_fault() -> None:
    lines = rml("chaos", "--list").splitlines()
    assert [line.split()[0] for line in lines] == list(FAULTS)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--fault", "worker-kiled"], "worker-killed"),
        (["--on", "moon"], "no 'moon'"),
        (["--fault", "node-killed", "--on", "process"], "node-killed"),
        (["--fault", "node-killed", "--address", "auto"], "none of the faults"),
    ],
)
def test_what_cannot_be_done_is_told(words: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        rml("chaos", write_study(tmp_path), "--out", tmp_path / "out", *words)


def test_a_study_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs a study file"):
        rml("chaos", tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("wrong", "expected"), [({}, 0), ({"lost": ["run-1 has no result"]}, 1)], ids=["clean", "lost"]
)
def test_the_exit_code_says_whether_all_was_in_order(
    wrong: dict[str, list[str]],
    expected: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    account = Account(number=1, grounds="process", faults=("disk-full",), wrong=wrong)  # type: ignore[arg-type]
    monkeypatch.setattr(Monkey, "play", lambda *args, **kwargs: iter([account]))
    if expected:
        with pytest.raises(SystemExit) as ended:
            rml("chaos", write_study(tmp_path))
        assert ended.value.code == expected
    else:
        said = rml("chaos", write_study(tmp_path))
        assert "round 1 on process, 0 s: in order" in said
        assert "disk-full" in said


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_the_tally_so_far(
    signum: signal.Signals,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    is_cleaned_up = []

    def play(*args: object, **options: object) -> Iterator[Account]:
        try:
            yield Account(number=1, grounds="process", faults=("disk-full",))
            os.kill(os.getpid(), signum)
            yield Account(number=2, grounds="process", faults=("disk-full",))
        finally:
            is_cleaned_up.append(True)

    monkeypatch.setattr(Monkey, "play", play)
    done = CliRunner().invoke(app, ["chaos", str(write_study(tmp_path))])
    assert done.exit_code == 128 + signum
    assert is_cleaned_up
    assert "round 1 on process" in done.output
    assert "round 2" not in done.output
