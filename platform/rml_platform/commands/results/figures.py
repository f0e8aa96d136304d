"""`rml figures`: curves and diagrams of studies from what was recorded."""

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


def figures(
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
    html: Annotated[
        bool,
        typer.Option(
            "--html", help="Also write all figures as one page whose figures answer the pointer."
        ),
    ] = False,
) -> None:
    """Draw the figures of each study as SVG, PNG and PDF with their values as CSV: those that it
    declares, else curves and diagrams of what is recorded.

    Goes by the plan that `rml plan` or `rml launch` wrote: needs no images.
    """
    from rml_dashboards.figures.page import write_page
    from rml_dashboards.figures.publish import write_drawn
    from rml_dashboards.records.opening import open_records
    from rml_dashboards.studies.drawn import drawn_figures
    from rml_platform.tracking.opening import tracking_uri_or_default
    from rml_platform.views.study_plan import find_study_plans

    reader = open_records(
        tracking_uri_or_default(tracking_uri, out),
        storage=storage or str(out),
        ledger_folder=out / "ledger",
        fresh=fresh,
    )
    plans = find_study_plans(
        studies, set_, plugin, profile, out=out, storage=storage, data_root=data_root
    )
    for plan in plans:
        folder = to or out / "studies" / plan.name
        index = f"figures{plan.file_suffix}"
        drawn = drawn_figures(plan, reader)
        written = write_drawn(drawn, folder, index_name=index)
        if html:
            written.append(write_page(drawn, plan.title, folder / f"{index}.html"))
        for path in written:
            typer.echo(str(path))
