"""`rml figures`: curves and diagrams of studies from what was recorded."""

from pathlib import Path
from typing import Annotated

import typer

from rml_platform.commands.options import (
    StudiesOrNames,
    TrackingUri,
)
from rml_platform.commands.plan_options import PlanOptions, takes_plan_options


@takes_plan_options
def figures(
    studies: StudiesOrNames,
    asked: PlanOptions = PlanOptions(),
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
    from rml_dashboards.figures.publish import write_drawn
    from rml_dashboards.figures.web.page import write_page
    from rml_dashboards.records.opening import open_records
    from rml_dashboards.studies.drawn import drawn_figures
    from rml_platform.tracking.opening import tracking_uri_or_default

    reader = open_records(
        tracking_uri_or_default(tracking_uri, asked.out),
        storage=asked.place,
        ledger_folder=asked.out / "ledger",
        fresh=fresh,
    )
    plans = asked.plans_to_show(studies)
    for plan in plans:
        folder = to or asked.out / "studies" / plan.name
        index = f"figures{plan.file_suffix}"
        drawn = drawn_figures(plan, reader)
        written = write_drawn(drawn, folder, index_name=index)
        if html:
            written.append(write_page(drawn, plan.title, folder / f"{index}.html"))
        for path in written:
            typer.echo(str(path))
