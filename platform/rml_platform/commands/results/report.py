"""`rml report`: studies in one HTML file."""

from pathlib import Path
from typing import Annotated

import typer

from rml_platform.commands.options import (
    StudiesOrNames,
    TrackingUri,
)
from rml_platform.commands.plan_options import PlanOptions, takes_plan_options

PriceOption = Annotated[
    str | None,
    typer.Option(
        "--price",
        metavar="'1.20 EUR'",
        help="What an hour of one GPU costs, or of one core where runs have none, to add it up.",
    ),
]
PairedOption = Annotated[
    str | None,
    typer.Option(
        "--paired",
        metavar="ROW",
        help="Row that the others are compared with; default: the first supervised one.",
    ),
]

LightOption = Annotated[
    bool,
    typer.Option(
        "--light",
        help="Some hundred kilobytes: figures as pictures that do not answer the pointer, and "
        "predictions of one image, of four rows.",
    ),
]


@takes_plan_options
def report(
    studies: StudiesOrNames,
    asked: PlanOptions = PlanOptions(),
    tracking_uri: TrackingUri = None,
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html",
            help="The file; default: OUT/studies/<study>/report.html, of several OUT/report.html.",
        ),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Read every record again instead of only new ones.")
    ] = False,
    paired: PairedOption = None,
    price: PriceOption = None,
    light: LightOption = False,
) -> None:
    """Write one HTML file that shows studies: cells by state, tables, figures, pictures, failures
    and what the numbers rest on. It stands alone: nothing is fetched, no server is needed.

    Goes by the plan that `rml plan` or `rml launch` wrote: needs no images.
    """
    from rml_dashboards.records.opening import open_records
    from rml_dashboards.report.content import Price, read_content
    from rml_dashboards.report.publish import write_report
    from rml_dashboards.tables.html import run_links
    from rml_platform.tracking.opening import tracking_uri_or_default
    from rml_platform.views.runs.study_summary import send_summary

    cost = None if price is None else Price.parse(price)
    uri = tracking_uri_or_default(tracking_uri, asked.out)
    place = asked.place
    reader = open_records(uri, storage=place, ledger_folder=asked.out / "ledger", fresh=fresh)
    plans = asked.plans_to_show(studies)
    contents = [
        read_content(
            plan,
            reader,
            storage=place,
            link=run_links(uri),
            against=paired,
            price=cost,
            is_light=light,
        )
        for plan in plans
    ]
    first = plans[0]
    default = asked.out / "report.html"
    if len(plans) == 1:
        default = asked.out / "studies" / first.name / f"report{first.file_suffix}.html"
    path = write_report(contents, to or default)
    for plan, content in zip(plans, contents, strict=True):
        send_summary(plan, content.table, [path], out=asked.out, tracking_uri=uri, on_note=_note)
    typer.echo(str(path))


def _note(text: str) -> None:
    typer.echo(f"note: {text}", err=True)
