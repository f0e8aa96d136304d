"""`rml status --watch` where the storage is away for a while."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rml_platform.cli import app
from rml_platform.commands.running import status
from rml_platform.planning.plan_file.find_plan import find_plan
from rml_platform.run import many_runs
from rml_platform.run.run_folder import RunFolder, RunRecord
from tests.support.platform.plan_on_disk import PlanOnDisk
from tests.support.platform.tasks import beat_of

Looks = Iterator[OSError | None]


@pytest.fixture
def there(tmp_path: Path) -> PlanOnDisk:
    made = PlanOnDisk.make(tmp_path)
    made.write()
    return made


def away() -> OSError:
    return OSError(errno.EIO, os.strerror(errno.EIO))


def look_as(looks: Looks, there: PlanOnDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the storage answer the looks so, and stop the command after them as Ctrl-C does."""
    RunFolder.of(str(there.out), find_plan("own", out=there.out).runs[0].run_id).write_heartbeat(
        beat_of(step=3, num_steps=8)
    )
    read = many_runs.records_of

    def records_of(*asked: object) -> dict[str, RunRecord]:
        try:
            error = next(looks)
        except StopIteration:
            raise KeyboardInterrupt from None
        if error is not None:
            raise error
        return read(*asked)  # type: ignore[arg-type]

    monkeypatch.setattr(many_runs, "records_of", records_of)
    monkeypatch.setattr(status, "REDRAW_EVERY_S", 0.0)


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
def test_a_storage_that_is_away_is_told_once_and_looked_at_again(
    form: list[str], there: PlanOnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_as(iter([away(), None, away(), away(), None]), there, monkeypatch)
    done = CliRunner().invoke(app, ["status", "own", "--out", str(there.out), "--watch", *form])
    assert done.exit_code == 0, done.output
    assert done.stdout.count("3/8" if not form else '"format"') == 2
    assert done.stderr.count("the storage is away") == 2
    assert "Input/output error" in done.stderr


def test_on_a_terminal_the_last_picture_stays(
    there: PlanOnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_as(iter([away(), None, away()]), there, monkeypatch)
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    done = CliRunner().invoke(app, ["status", "own", "--out", str(there.out), "--watch"])
    assert done.exit_code == 0, done.output
    before, told, last = done.stdout.rpartition("the storage is away")
    assert told and "3/8" in last, "what was seen last is below what is told"
    assert "the storage is away" in before


def test_another_error_ends_it(there: PlanOnDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    look_as(iter([None, PermissionError(errno.EACCES, "no")]), there, monkeypatch)
    done = CliRunner().invoke(app, ["status", "own", "--out", str(there.out), "--watch"])
    assert isinstance(done.exception, PermissionError)
