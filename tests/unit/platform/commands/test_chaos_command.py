"""`rml chaos` as a person calls it, as far as nothing has to be trained."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rml_platform.chaos.checks.tally import Account
from rml_platform.chaos.faults.catalogue import FAULTS
from rml_platform.chaos.monkey import Monkey
from rml_platform.cli import app
from rml_platform.launch.session.errors import ClusterLostError
from rml_trainers.errors import ConfigError
from tests.support.platform.command import rml
from tests.support.platform.studies import write_study

ONE: dict[str, Any] = {"number": 1, "grounds": "process", "faults": ("disk-full",)}


def played(monkeypatch: pytest.MonkeyPatch, *accounts: Account) -> None:
    """Make these the rounds that are played."""
    monkeypatch.setattr(Monkey, "play", lambda *args, **kwargs: iter(accounts))


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
    played(monkeypatch, Account(**ONE, done=("disk-full",), wrong=wrong))  # type: ignore[arg-type]
    if expected:
        with pytest.raises(SystemExit) as ended:
            rml("chaos", write_study(tmp_path))
        assert ended.value.code == expected
    else:
        said = rml("chaos", write_study(tmp_path))
        assert "round 1 on process, 0 s: in order" in said
        assert "disk-full" in said


def test_rounds_in_which_nothing_was_done_show_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played(monkeypatch, Account(**ONE), Account(**ONE | {"number": 2}))
    done = CliRunner().invoke(app, ["chaos", str(write_study(tmp_path))])
    assert done.exit_code == 1
    assert "round 1 on process, 0 s: in order, but nothing was done" in done.stdout
    assert "no fault of any round was done" in done.stderr


def test_one_round_with_a_fault_makes_the_others_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played(monkeypatch, Account(**ONE), Account(**ONE | {"number": 2}, done=("disk-full",)))
    said = rml("chaos", write_study(tmp_path))
    assert "2 of 2 rounds in order, of which 1 without a fault" in said


def test_a_tally_file_gets_a_line_per_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls add to it."""
    file = tmp_path / "tally.txt"
    done = Account(**ONE, done=("disk-full",), seconds=12.4)
    played(monkeypatch, done, Account(**ONE | {"number": 2}))
    rml("chaos", write_study(tmp_path), "--seed", 7, "--tally", file)
    wrong = Account(**ONE, done=("disk-full",), wrong={"left": ["a\nfolder", "a socket"]})
    played(monkeypatch, wrong)
    with pytest.raises(SystemExit):
        rml("chaos", write_study(tmp_path), "--tally", file)
    assert [" ".join(line.split()) for line in file.read_text().splitlines()] == [
        "command round time faults done what was wrong",
        "--on process --seed 7 1 12 s disk-full 0",
        "--on process --seed 7 2 0 s nothing was done 0",
        "--on process --seed 0 1 0 s disk-full 2 left: a folder; a socket",
    ]


def test_a_tally_that_cannot_be_written_is_told_before_the_first_round(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--tally .* cannot be written: No such file"):
        rml("chaos", write_study(tmp_path), "--tally", tmp_path / "none" / "tally.txt")


def test_a_cluster_that_is_lost_ends_it_with_the_tally_so_far(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def play(*args: object, **options: object) -> Iterator[Account]:
        yield Account(**ONE, done=("disk-full",))
        raise ClusterLostError("the head of the Ray cluster has not answered")

    monkeypatch.setattr(Monkey, "play", play)
    done = CliRunner().invoke(app, ["chaos", str(write_study(tmp_path))])
    assert isinstance(done.exception, ClusterLostError)
    assert "1 of 1 rounds in order" in done.output


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
            time.sleep(30)  # ends as soon as the signal is there: another thread may take it first
            yield Account(number=2, grounds="process", faults=("disk-full",))
        finally:
            is_cleaned_up.append(True)

    monkeypatch.setattr(Monkey, "play", play)
    # A shell starts what is in its background with SIGINT ignored, which is kept so.
    before = signal.signal(signum, signal.default_int_handler)
    try:
        done = CliRunner().invoke(app, ["chaos", str(write_study(tmp_path))])
    finally:
        signal.signal(signum, before)
    assert done.exit_code == 128 + signum
    assert is_cleaned_up
    assert "round 1 on process" in done.output
    assert "round 2" not in done.output
