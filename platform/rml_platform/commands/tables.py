"""`rml tables`: the tables of studies from what was recorded."""

from pathlib import Path
from typing import Annotated

import typer

from rml_platform.commands.options import (
    DEFAULT_OUT,
    DataRoot,
    Out,
    Overrides,
    Profile,
    TrackingUri,
)


def tables(
    studies: Annotated[list[Path], typer.Argument(metavar="STUDY.yaml…", help="Study files.")],
    set_: Overrides = None,
    profile: Profile = None,
    out: Out = DEFAULT_OUT,
    data_root: DataRoot = None,
    tracking_uri: TrackingUri = None,
    to: Annotated[
        Path | None, typer.Option(help="Folder for the files; default: OUT/studies/<study>.")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Read every record again instead of only new ones.")
    ] = False,
) -> None:
    """Fill the table of each study with mean ± std over seeds, print it, and write it as Markdown
    and CSV."""
    from rich.console import Console

    from rml_dashboards.tables.console import console_table
    from rml_dashboards.tables.publish import load_table, write_tables
    from rml_platform.planning.plan_from_file import planned
    from rml_platform.tracking.mlflow_tracker import default_tracking_uri
    from rml_platform.views.table_spec import cell_specs, table_spec

    uri = tracking_uri or default_tracking_uri(out)
    ledger = out / "ledger"
    for study_file in studies:
        plan = planned(study_file, set_, profile, out=out, data_root=data_root, is_local=False)
        spec = table_spec(plan.study)
        cells = cell_specs(plan)
        folder = to or out / "studies" / plan.study.name
        paths = write_tables(spec, cells, uri, folder, ledger_folder=ledger, fresh=fresh)
        Console().print(console_table(load_table(spec, cells, uri, ledger)))
        for path in paths:
            typer.echo(str(path))
