"""`rml run`: one run in this process."""

from pathlib import Path
from typing import Annotated

import typer

from rml_platform.commands.options import (
    DEFAULT_OUT,
    DataRoot,
    Out,
    Overrides,
    Plugins,
    StorageToWrite,
    TrackingUri,
)


def run(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG.yaml", help="Configuration of one run.")
    ],
    set_: Overrides = None,
    plugin: Plugins = None,
    out: Out = DEFAULT_OUT,
    storage: StorageToWrite = None,
    data_root: DataRoot = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Train one run in this process, without Ray. The same command again resumes it, or says that
    it is done."""
    from rich.console import Console

    from rml_platform.launch.output_layout import OutputLayout
    from rml_platform.launch.run_alone import run_alone
    from rml_platform.launch.stop_signals import exit_code_of
    from rml_platform.planning.feasible import tell_account
    from rml_platform.planning.plan import plan_run
    from rml_platform.planning.plan_from_file import preparing
    from rml_platform.study.schema import load_run_config
    from rml_platform.tracking.reaching import check_reachable
    from rml_platform.views.summary import print_run
    from rml_trainers.data.prepared.cache import PreparedData

    console = Console()
    check_reachable(tracking_uri)
    with preparing(Console(stderr=True)) as tell:
        run_config = load_run_config(config, set_ or ())
        planned = plan_run(
            run_config, data_root=data_root, cache_root=out / "cache", on_prepare=tell
        )
    told = tell_account(PreparedData.open(planned.prepared_folder))
    typer.echo(told.summary, err=True)
    for warning in told.warnings:
        typer.secho(f"warning: {warning}", fg="yellow", err=True)
    layout = OutputLayout(root=out, storage=storage or str(out))
    try:
        record = run_alone(
            planned, layout=layout, data_root=data_root, tracking_uri=tracking_uri, console=console
        )
    except KeyboardInterrupt as stop:
        typer.echo(f"stopped; the same command goes on with {planned.run_id}", err=True)
        raise typer.Exit(exit_code_of(stop)) from None
    print_run(planned, record, layout, tracking_uri, console)
    if record.result is None:
        raise typer.Exit(1)
