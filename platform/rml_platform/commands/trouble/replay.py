"""`rml replay`: the steps in which a run met a loss that is no number, made again."""

from typing import Annotated

import typer

from rml_platform.commands.options import DEFAULT_OUT, Out, Plugins, Storage


def replay(
    run_id: Annotated[
        str, typer.Argument(metavar="RUN_ID", help="A run, as `rml status` names it.")
    ],
    plugin: Plugins = None,
    out: Out = DEFAULT_OUT,
    storage: Storage = None,
) -> None:
    """Make the steps again in which a run's loss or weights became NaN or infinite, and say what
    did so first.

    Begins at the run's last good checkpoint and prints loss and gradient norms of every step; at
    the first tensor that is not finite it stops and names it, with the images of its batch. Nothing
    is written. Exit code 1: everything was finite this time.
    """
    from rml_platform.views.prediction.recorded import recorded_task
    from rml_platform.views.replay import replay as replay_run
    from rml_platform.views.replay import report

    task = recorded_task(storage or str(out), run_id, out)
    replayed = replay_run(task, lambda text: typer.echo(f"note: {text}", err=True), typer.echo)
    typer.echo(report(replayed))
    if replayed.found is None:
        raise typer.Exit(1)
