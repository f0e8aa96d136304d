"""`rml tracking`: fill a tracking store from run folders, and start an MLflow server."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from rml_platform.commands.options import (
    DEFAULT_OUT,
    STUDY_OR_NAME,
    Out,
    TrackingUri,
)
from rml_platform.commands.plan_options import PlanOptions, takes_plan_options

if TYPE_CHECKING:
    from rml_platform.planning.plan_file.written_plan import WrittenPlan

app = typer.Typer(
    help="Fill a tracking store from run folders; start an MLflow server.", no_args_is_help=True
)


Database = Annotated[
    str | None,
    typer.Option(
        envvar="MLFLOW_BACKEND_STORE_URI",
        help="Database: sqlite:///FILE or postgresql://USER@HOST/DATABASE; default: the SQLite "
        "file under --out. One with a password in the environment: command lines are seen by all.",
    ),
]
Auth = Annotated[
    bool | None,
    typer.Option(
        "--auth/--no-auth",
        help="Users and passwords (MLflow's basic authentication); default: none on the "
        "loopback address, and one of the two must be said elsewhere.",
    ),
]


@app.command()
@takes_plan_options
def sync(
    studies: Annotated[
        list[str] | None,
        typer.Argument(
            metavar=f"[{STUDY_OR_NAME}…]",
            help="Studies whose runs are sent; default: every run under the storage.",
        ),
    ] = None,
    asked: PlanOptions = PlanOptions(),
    tracking_uri: TrackingUri = None,
    every_value: Annotated[
        bool,
        typer.Option(
            "--every-value",
            help="Compare every value and send every file again, also of runs that look complete.",
        ),
    ] = False,
) -> None:
    """Send what a tracking store lacks of runs, whatever it lost or never had.

    Run folders hold everything; what was remembered as sent is not trusted. Each run id has one
    MLflow run, and calling again sends nothing. Exit code 1: some runs could not be sent.
    """
    from rml_platform.launch.output_layout import OutputLayout
    from rml_platform.tracking.opening import open_mlflow
    from rml_platform.tracking.replay import replay, run_ids_under, summary_of

    layout = OutputLayout(root=asked.out, storage=asked.place)
    tracker = open_mlflow(tracking_uri, asked.out, layout.artifacts)
    tracker.check()
    runs: list[tuple[str, str | None]]
    labels: dict[str, dict[str, str]] = {}
    if studies:
        plans = [asked.plan_of(study) for study in studies]
        runs = [(run.run_id, plan.name) for plan in plans for run in plan.runs]
        labels = _labels_of(plans)
    else:
        runs = [(run_id, None) for run_id in run_ids_under(layout.storage)]
    done = []
    for one in replay(
        layout.storage, runs, tracker, every_value=every_value, on_note=_note, labels=labels
    ):
        done.append(one)
        if one.text:
            typer.echo(f"{one.run_id}: {one.text}")
    typer.echo(f"{tracker.name}: {summary_of(done)}")
    if any(one.problem for one in done):
        raise typer.Exit(1)


def _labels_of(plans: "Sequence[WrittenPlan]") -> dict[str, dict[str, str]]:
    """By run id, the tags that only studies know."""
    from rml_dashboards.contract.tags import differences_tag, place_tags

    labels: dict[str, dict[str, str]] = {}
    for plan in plans:
        for run in plan.runs:
            places = ((cell.row, cell.column) for cell in run.cells)
            own = labels.setdefault(run.run_id, {})
            own |= place_tags(plan.name, places) | differences_tag(plan.name, run.settings)
    return labels


def _note(text: str) -> None:
    typer.echo(f"note: {text}", err=True)


@app.command()
def serve(
    out: Out = DEFAULT_OUT,
    backend_store_uri: Database = None,
    artifacts: Annotated[
        str | None,
        typer.Option(help="Path or URI where the server keeps files; default: OUT/mlartifacts."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 5000,
    allowed_hosts: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,…", help="Names that the server is called by; needed on other addresses."
        ),
    ] = None,
    auth: Auth = None,
) -> None:
    """Start an MLflow server that suits rml: one worker, a database, files under the output folder,
    closed to other machines unless they are let in.

    The process becomes the server; Ctrl-C ends it.
    """
    from rml_dashboards.contract.store_uri import VARIABLE
    from rml_platform.tracking.server import ServerConfig, prepare_server

    names = tuple(name.strip() for name in (allowed_hosts or "").split(",") if name.strip())
    server = prepare_server(
        ServerConfig(
            out=out,
            backend_store_uri=backend_store_uri,
            artifacts=artifacts,
            host=host,
            port=port,
            allowed_hosts=names,
            authentication=auth,
        ),
        os.environ,
    )
    typer.echo(f"MLflow     {server.url}")
    typer.echo(f"database   {server.store}")
    typer.echo(f"launches   export {VARIABLE}={server.url}")
    if server.has_accounts:
        typer.echo(
            "users      also MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD; new ones: "
            f"{server.url}/signup"
        )
    _become(server.command, server.environment)


def _become(command: tuple[str, ...], environment: dict[str, str]) -> None:
    """The server takes the place of this process: signals and exit codes are its own."""
    import sys

    sys.stdout.flush()
    os.execve(command[0], command, environment)
