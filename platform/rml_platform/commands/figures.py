"""`rml figures`: the curves of studies from what was recorded."""

from pathlib import Path
from typing import Annotated

import typer

from rml_platform.commands.options import (
    DEFAULT_OUT,
    DataRoot,
    Out,
    Overrides,
    Plugins,
    Profile,
    Storage,
    TrackingUri,
)


def figures(
    studies: Annotated[
        list[Path], typer.Argument(metavar="STUDY.yaml…", help="Study files that declare figures.")
    ],
    set_: Overrides = None,
    plugin: Plugins = None,
    profile: Profile = None,
    out: Out = DEFAULT_OUT,
    storage: Storage = None,
    data_root: DataRoot = None,
    tracking_uri: TrackingUri = None,
    to: Annotated[
        Path | None, typer.Option(help="Folder for the files; default: OUT/studies/<study>.")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Read every record again instead of only new ones.")
    ] = False,
) -> None:
    """Draw the figures of each study, mean ± std over seeds, as SVG and PNG with their values as
    CSV."""
    from rml_dashboards.figures.publish import write_figures
    from rml_dashboards.records.opening import open_records
    from rml_platform.planning.plan_from_file import planned
    from rml_platform.tracking.opening import tracking_uri_or_default
    from rml_platform.views.figure_spec import figure_specs, suffix
    from rml_trainers.errors import ConfigError

    reader = open_records(
        tracking_uri_or_default(tracking_uri, out),
        storage=storage or str(out),
        ledger_folder=out / "ledger",
        fresh=fresh,
    )
    for study_file in studies:
        plan = planned(study_file, set_, profile, out=out, data_root=data_root, is_local=False)
        if not plan.study.figures:
            raise ConfigError(
                f"{study_file}: declares no figures; see `figures` in docs/studies.md"
            )
        folder = to or out / "studies" / plan.study.name
        index = f"figures{suffix(plan.study)}"
        for path in write_figures(figure_specs(plan), reader, folder, index_name=index):
            typer.echo(str(path))
