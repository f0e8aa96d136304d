"""`rml cancel` and `rml prioritise`: what a launch that runs, and every later one, is asked to
do."""

import functools
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rml_platform.commands.options import (
    DEFAULT_OUT,
    StudyOrName,
)
from rml_platform.commands.plan_options import PlanOptions, takes_plan_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rml_platform.planning.plan_file.written_plan import WrittenPlan, WrittenRun

Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="ROW|RUN…", help="Rows by their labels, or run ids; default: all."),
]
Now = Annotated[
    bool,
    typer.Option("--now", help="Stop at the next report; what was trained since is lost."),
]
Undo = Annotated[bool, typer.Option("--undo", help="Take cancelled runs back.")]


@takes_plan_options
def cancel(
    study: StudyOrName,
    names: Names = None,
    now: Now = False,
    undo: Undo = False,
    asked: PlanOptions = PlanOptions(),
) -> None:
    """Cancel the runs of a study, of some rows, or single ones: a running one stops after its next
    checkpoint, and no launch starts it before `--undo`.

    A launch that is running sees it, and goes on with its other runs. Goes by the plan that `rml
    plan` or `rml launch` wrote: needs no images.
    """
    from rml_platform.launch.scheduling import wishes
    from rml_platform.planning.plan_file.selection import select_runs

    plan = asked.plan_of(study)
    place = asked.place
    runs = select_runs(plan, names or ())
    change = functools.partial(wishes.change_wishes, place, plan.name, plan.profile)
    if undo:
        named = [run.run_id for run in runs]
        before = change(lambda known: wishes.without_cancelled(known, named))
        _take_back(place, [run for run in runs if run.run_id in before.cancelled])
    else:
        left_to_do = _unfinished(place, runs)
        unfinished = [run.run_id for run in left_to_do]
        change(lambda known: wishes.with_cancelled(known, unfinished))
        _stop(place, left_to_do, now)
        if left_to_do:
            options = _options(plan, asked.out, asked.storage)
            which = "".join(f" {shlex.quote(name)}" for name in names or ())
            undo_them = f"rml cancel {shlex.quote(study)}{which}{options} --undo"
            typer.echo(f"no launch starts them until: {undo_them}")


def _unfinished(place: str, runs: "Sequence[WrittenRun]") -> "list[WrittenRun]":
    from rml_platform.run.many_runs import records_of

    records = records_of(place, (run.run_id for run in runs))
    return [run for run in runs if records[run.run_id].result is None]


def _options(plan: "WrittenPlan", out: Path, storage: str | None) -> str:
    given = {
        "--profile": plan.profile,
        "--out": None if out == DEFAULT_OUT else str(out),
        "--storage": storage,
    }
    told = (f" {name} {shlex.quote(value)}" for name, value in given.items() if value is not None)
    return "".join(told)


def _stop(place: str, runs: "Sequence[WrittenRun]", now: bool) -> None:
    """Stop those that run. One that a launch has taken but not yet begun is told, too."""
    from rml_platform.run.run_folder import RunFolder

    running = []
    for run in runs:
        folder = RunFolder.of(place, run.run_id)
        if folder.folder.exists():
            folder.request_cancel(at_checkpoint=not now)
        if folder.record().state == "running":
            running.append(run)
            when = "now" if now else "after its next checkpoint"
            typer.echo(f"asked to stop {when}: {run.run_id}")
    if not runs:
        typer.echo("nothing to cancel: all these runs are done")
        return
    if len(runs) > len(running):
        number = len(runs) - len(running)
        typer.echo(f"cancelled before they run: {number} {'run' if number == 1 else 'runs'}")


def _take_back(place: str, runs: "Sequence[WrittenRun]") -> None:
    from rml_platform.run.run_folder import RunFolder

    for run in runs:
        RunFolder.of(place, run.run_id).folder.delete("cancel")
        typer.echo(f"taken back: {run.run_id}")
    if not runs:
        typer.echo("none of these runs is cancelled")


@takes_plan_options
def prioritise(
    study: StudyOrName,
    row: Annotated[str, typer.Argument(metavar="ROW", help="The row, by its label.")],
    priority: Annotated[
        int, typer.Argument(metavar="N", help="Higher first; 0 is usual, negative for later.")
    ],
    asked: PlanOptions = PlanOptions(),
) -> None:
    """Start the runs of a row before or after those of others, in the launch that is running and in
    later ones. (Before a negative number write `--`.)

    Holds until the row's `priority` in the study's file is changed. What is running goes on.
    """
    from rml_platform.launch.scheduling import wishes
    from rml_platform.planning.plan_file.selection import row_of

    plan = asked.plan_of(study)
    place = asked.place
    in_file = row_of(plan, row).priority
    wishes.change_wishes(
        place,
        plan.name,
        plan.profile,
        lambda known: wishes.with_priority(known, row, priority, in_file),
    )
    typer.echo(f"row {row!r}: priority {priority} (the file says {in_file})")
