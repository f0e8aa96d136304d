"""`rml tables`: the tables of studies from what was recorded."""

from pathlib import Path
from typing import Annotated

import typer

from rml_platform.commands.options import (
    DEFAULT_OUT,
    DataRoot,
    Out,
    Overrides,
    PluginsForPlanning,
    Profile,
    Storage,
    StudiesOrNames,
    TrackingUri,
)


def tables(
    studies: StudiesOrNames,
    set_: Overrides = None,
    plugin: PluginsForPlanning = None,
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
    """Fill the table of each study with mean ± std over seeds, print it, and write it as Markdown
    and CSV.

    Goes by the plan that `rml plan` or `rml launch` wrote: needs no images.
    """
    from rich.console import Console

    from rml_dashboards.records.opening import open_records
    from rml_dashboards.tables.console import console_table
    from rml_dashboards.tables.publish import load_table, write_table
    from rml_platform.planning.plan_file.find_plan import find_plan
    from rml_platform.tracking.opening import tracking_uri_or_default
    from rml_platform.views.table_spec import cell_specs, table_spec

    reader = open_records(
        tracking_uri_or_default(tracking_uri, out),
        storage=storage or str(out),
        ledger_folder=out / "ledger",
        fresh=fresh,
    )
    for study in studies:
        plan = find_plan(
            study,
            overrides=set_,
            plugins=plugin,
            profile=profile,
            out=out,
            storage=storage,
            data_root=data_root,
        )
        table = load_table(table_spec(plan), cell_specs(plan), reader)
        Console().print(console_table(table))
        for path in write_table(table, to or out / "studies" / plan.name):
            typer.echo(str(path))
