"""Options that several commands share, so that they are called and explained the same
everywhere."""

from pathlib import Path
from typing import Annotated

import typer

from rml_platform.launch.output_layout import DEFAULT_OUT as DEFAULT_OUT
from rml_platform.launch.session.ray_environment import check_address
from rml_platform.run.files.reaching import check_storage

STUDY_OR_NAME = "STUDY.yaml|NAME"
StudyOrName = Annotated[
    str,
    typer.Argument(
        metavar=STUDY_OR_NAME,
        help="Study file; or the name of a study whose plan `rml plan` or `rml launch` wrote.",
    ),
]
StudiesOrNames = Annotated[
    list[str],
    typer.Argument(metavar=f"{STUDY_OR_NAME}…", help="Study files, or names of studies."),
]
StudyFiles = Annotated[list[Path], typer.Argument(metavar="STUDY.yaml…", help="Study files.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY.PATH=VALUE",
        help=(
            "Change a setting, for example --set optimiser.lr=1e-3; the value is YAML. "
            "May be repeated."
        ),
    ),
]


def _load_plugins(context: typer.Context, given: list[str] | None) -> list[str] | None:
    """Runs for every command that has the option, before its other options are read."""
    if not context.resilient_parsing:  # completion in a shell imports nobody's code
        from rml_platform.plugins import load_plugins

        load_plugins(given or ())
    return given


_PLUGIN_HELP = (
    "Load a method, network, data set or metric from outside: a module's dotted name or the path "
    "of a file or package. May be repeated; RML_PLUGINS holds more, separated as in PATH."
)
Plugins = Annotated[
    list[str] | None,
    typer.Option(
        "--plugin", metavar="MODULE", is_eager=True, callback=_load_plugins, help=_PLUGIN_HELP
    ),
]
PluginsForPlanning = Annotated[
    list[str] | None, typer.Option("--plugin", metavar="MODULE", help=_PLUGIN_HELP)
]
"""Of commands that go by the written plan: loaded only where a study has to be planned anew."""
Profile = Annotated[
    str | None, typer.Option(help="Another size of the study, by its name in the file.")
]
Out = Annotated[Path, typer.Option(help="Where prepared data, runs, tracking and tables go.")]


def _reached(context: typer.Context, storage: str | None) -> str | None:
    return _looked_at(context, storage, is_written=False)


def _reached_and_written(context: typer.Context, storage: str | None) -> str | None:
    return _looked_at(context, storage, is_written=True)


def _looked_at(context: typer.Context, storage: str | None, *, is_written: bool) -> str | None:
    """Before anything is planned or prepared: that takes its time."""
    if storage is not None and not context.resilient_parsing:
        check_storage(storage, is_written=is_written)
    return storage


_STORAGE_HELP = (
    "Where run folders and checkpoints go: a path or URI (s3://…) all nodes reach; default: --out."
)
Storage = Annotated[str | None, typer.Option(callback=_reached, help=_STORAGE_HELP)]
StorageToWrite = Annotated[
    str | None, typer.Option("--storage", callback=_reached_and_written, help=_STORAGE_HELP)
]
"""Of commands that put something there: its folder is made."""
DataRoot = Annotated[
    Path | None,
    typer.Option(envvar="RML_DATA", help="Folder that holds the data sets (camvid/, …)."),
]
TrackingUri = Annotated[
    str | None,
    typer.Option(
        envvar="MLFLOW_TRACKING_URI",
        help=(
            "MLflow server or database, or none: the run folders alone; default: an "
            "SQLite file under --out. One with a password in the environment: command lines are "
            "seen by all."
        ),
    ),
]


def _of_a_cluster(context: typer.Context, address: str | None) -> str | None:
    """`RAY_ADDRESS=local` asks for what no address asks for."""
    if address in (None, "", "local"):
        return None
    if not context.resilient_parsing:
        check_address(address)
    return address


Address = Annotated[
    str | None,
    typer.Option(
        envvar="RAY_ADDRESS",
        callback=_of_a_cluster,
        help="Ray cluster to use (host:port, auto); default: a local Ray of its own.",
    ),
]
