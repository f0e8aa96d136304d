"""`rml status`: where the cells of a study stand."""

from collections.abc import Callable
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
    import time

    from rich.console import Console
    from rich.live import Live

    from rml_platform.views.runs.status_text import status_text

    console = Console(highlight=False)
    with contextlib.suppress(KeyboardInterrupt):  # how one leaves it
        if as_json or not console.is_terminal:
            while True:
                now = look()
                _print(now, as_json=as_json)
                if now.is_over:
                    return
                time.sleep(REDRAW_EVERY_S)
        with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
            while True:
                now = look()
                live.update(status_text(now), refresh=True)
                if now.is_over:
                    return
                time.sleep(REDRAW_EVERY_S)
