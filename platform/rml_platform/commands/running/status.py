"""`rml status`: where the cells of a study stand."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from rml_platform.commands.options import (
    StudyOrName,
)
from rml_platform.commands.plan_options import PlanOptions, takes_plan_options

if TYPE_CHECKING:
    from rml_platform.views.runs.standing import Standing

REDRAW_EVERY_S = 2.0

Watch = Annotated[
    bool, typer.Option("--watch", help="Draw it again every two seconds, until all is over.")
]
Json = Annotated[bool, typer.Option("--json", help="As JSON, with keys that stay.")]


@takes_plan_options
def status(
    study: StudyOrName,
    watch: Watch = False,
    json: Json = False,
    asked: PlanOptions = PlanOptions(),
) -> None:
    """Show where every run of a study stands: step, loss, mIoU, pace, what is left, why it waits or
    failed.

    Goes by the plan that `rml plan` or `rml launch` wrote: needs no images.
    """
    from rml_platform.launch.scheduling.queue_state import queues
    from rml_platform.launch.scheduling.wishes import read_wishes
    from rml_platform.planning.costs.measured import probes_like
    from rml_platform.run.many_runs import records_of
    from rml_platform.views.runs.standing import devices_of, standing

    plan = asked.plan_of(study)
    place = asked.place

    def look() -> "Standing":
        records = records_of(place, (run.run_id for run in plan.runs))
        wishes = read_wishes(place, plan.name, plan.profile)
        kinds = [run.kind for run in plan.runs]
        probes = probes_like(asked.out, kinds, devices_of(plan, records))
        cancelled = frozenset(wishes.cancelled)
        return standing(plan, records, cancelled, queues(place), probes=probes)

    if watch:
        _watch(look, as_json=json)
    else:
        _print(look(), as_json=json)


def _print(now: "Standing", *, as_json: bool) -> None:
    from rich.console import Console

    from rml_platform.views.runs import standing
    from rml_platform.views.runs.status_text import status_text

    if as_json:
        import json

        typer.echo(json.dumps(standing.as_json(now), allow_nan=False))
    else:
        Console(highlight=False).print(status_text(now), soft_wrap=True)


def _watch(look: "Callable[[], Standing]", *, as_json: bool) -> None:
    """On a terminal in place, elsewhere (and as JSON, a line each time) one after the other."""
    import contextlib

    from rich.console import Console, Group, RenderableType
    from rich.live import Live
    from rich.text import Text

    from rml_platform.views.runs.status_text import status_text

    console = Console(highlight=False)
    with contextlib.suppress(KeyboardInterrupt):  # how one leaves it
        if as_json or not console.is_terminal:
            was_away = False
            for now, trouble in _looks(look):
                if now is not None and not trouble:
                    _print(now, as_json=as_json)
                elif not was_away:
                    typer.echo(trouble, err=True)
                was_away = bool(trouble)
            return
        with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
            for now, trouble in _looks(look):
                shown: list[RenderableType] = [Text(trouble, "yellow")] if trouble else []
                if now is not None:
                    shown.append(status_text(now))
                live.update(Group(*shown), refresh=True)


def _looks(look: "Callable[[], Standing]") -> "Iterator[tuple[Standing | None, str]]":
    """Look every two seconds until all is over. Gives what was seen last, and what keeps it from
    being seen now: a storage that is away for a while.

    Raises:
        OSError: something else is wrong.
    """
    import time

    from rml_dashboards.contract.uris import without_secrets
    from rml_platform.run.faults.outages import is_outage

    seen: Standing | None = None
    while True:
        trouble = ""
        try:
            seen = look()
        except OSError as error:
            if not is_outage(str(error)):
                raise
            why = without_secrets(str(error))
            trouble = f"the storage is away and is looked at again and again: {why}"
        yield seen, trouble
        if seen is not None and seen.is_over:
            return
        time.sleep(REDRAW_EVERY_S)
