"""The options that commands about a study's plan share."""

import dataclasses
import inspect
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from rml_platform.commands import options
from rml_platform.commands.groups import records, tracking
from rml_platform.commands.plan_options import PlanOptions, takes_plan_options
from rml_platform.commands.results import figures, report, tables
from rml_platform.commands.running import cancel, status

NOTHING = PlanOptions()
OPTIONS = [one.name for one in dataclasses.fields(PlanOptions)]


@pytest.mark.parametrize(
    "command",
    [
        status.status,
        cancel.cancel,
        cancel.prioritise,
        tables.tables,
        figures.figures,
        report.report,
        records.pack,
        tracking.sync,
    ],
)
def test_every_command_about_a_plan_has_all_of_them(command: Callable[..., None]) -> None:
    parameters = list(inspect.signature(command).parameters)
    first = parameters.index(OPTIONS[0])
    assert parameters[first : first + len(OPTIONS)] == OPTIONS


def test_what_is_typed_arrives_in_one_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RML_DATA", raising=False)
    monkeypatch.setattr(options, "check_storage", lambda storage, *, is_written: None)
    got: list[tuple[str, PlanOptions, int]] = []
    app = typer.Typer()

    @app.command()
    @takes_plan_options
    def show(study: str, asked: PlanOptions = NOTHING, more: int = 3) -> None:
        got.append((study, asked, more))

    done = CliRunner().invoke(
        app,
        ["own", "--set", "a=1", "--set", "b=2", "--out", "there", "--more", "4", "--profile", "s"],
    )
    assert done.exit_code == 0, done.output
    assert CliRunner().invoke(app, ["own", "--storage", "s3://x"]).exit_code == 0
    expected = PlanOptions(set_=["a=1", "b=2"], out=Path("there"), profile="s")
    assert got[0] == ("own", expected, 4)
    assert (expected.place, got[1][1].place, got[1][2]) == ("there", "s3://x", 3)
