"""`rml tables`: the tables of studies from what was recorded."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from rml_platform.commands.options import (
    StudiesOrNames,
    TrackingUri,
)
from rml_platform.commands.plan_options import PlanOptions, takes_plan_options
from rml_trainers.errors import ConfigError

if TYPE_CHECKING:
    from rml_dashboards.tables.entries import Table
    from rml_dashboards.tables.specification import Emphasis

To = Annotated[
    Path | None, typer.Option(help="Folder for the files; default: OUT/studies/<study>.")
]
Fresh = Annotated[
    bool, typer.Option("--fresh", help="Read every record again instead of only new ones.")
]
EmphasisOption = Annotated[
    str,
    typer.Option(
        help="What stands out in a column: best, best_two, or supported: both, each only where its "
        "interval tells it from the next."
    ),
]
Statistics = Annotated[
    bool, typer.Option("--statistics", help="Also write intervals and scores of every cell.")
]
Paired = Annotated[
    str | None,
    typer.Option(
        metavar="ROW", help="Also compare every row with this one, over splits and seeds."
    ),
]
Latex = Annotated[bool, typer.Option("--latex", help="Also write the table as LaTeX.")]
NoiseFloorOption = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER|ROW=REPEAT",
        help="With --paired: what rounding alone does to a score; marks differences below it.",
    ),
]
Html = Annotated[
    bool, typer.Option("--html", help="Also write the table as a page that stands alone.")
]
PerClass = Annotated[
    bool, typer.Option("--per-class", help="Also write the IoU of every class as a table.")
]
Check = Annotated[
    bool,
    typer.Option(
        "--check",
        help="Compare with the reported numbers within the study's tolerance; exit code 1 where "
        "one is missing or too far off.",
    ),
]
Golden = Annotated[
    Path | None,
    typer.Option(
        metavar="TABLE.csv", help="With --check: compare with a table that was written before."
    ),
]


@dataclass(frozen=True, kw_only=True)
class _Files:
    """What is written besides Markdown and CSV."""

    latex: bool
    html: bool
    tracking_uri: str
    """Runs on a server are linked."""

    def write(self, table: "Table", folder: Path) -> list[Path]:
        from rml_dashboards.tables.html import run_links
        from rml_dashboards.tables.publish import write_html, write_latex, write_table

        files = write_table(table, folder)
        files += write_latex(table, folder) if self.latex else []
        files += write_html(table, folder, run_links(self.tracking_uri)) if self.html else []
        return files


@takes_plan_options
def tables(
    studies: StudiesOrNames,
    asked: PlanOptions = PlanOptions(),
    tracking_uri: TrackingUri = None,
    to: To = None,
    fresh: Fresh = False,
    emphasis: EmphasisOption = "best",
    statistics: Statistics = False,
    paired: Paired = None,
    noise_floor: NoiseFloorOption = None,
    latex: Latex = False,
    html: Html = False,
    per_class: PerClass = False,
    check: Check = False,
    golden: Golden = None,
) -> None:
    """Fill the table of each study with mean ± std over seeds, print it, and write it as Markdown
    and CSV.

    Goes by the plan that `rml plan` or `rml launch` wrote: needs no images.
    """
    from rml_dashboards.records.opening import open_records
    from rml_dashboards.studies.table import cell_specs, table_spec
    from rml_dashboards.tables.per_class import class_tables
    from rml_dashboards.tables.publish import load_table
    from rml_platform.tracking.opening import tracking_uri_or_default
    from rml_platform.views.runs.study_summary import send_summary

    _check_options(noise_floor, paired, golden, check, len(studies))
    uri = tracking_uri_or_default(tracking_uri, asked.out)
    place = asked.place
    reader = open_records(uri, storage=place, ledger_folder=asked.out / "ledger", fresh=fresh)
    plans = asked.plans_to_show(studies)
    files = _Files(latex=latex, html=html, tracking_uri=uri)
    passed = True
    for plan in plans:
        spec = dataclasses.replace(table_spec(plan), emphasis=cast("Emphasis", emphasis))
        folder = to or asked.out / "studies" / plan.name
        table = load_table(spec, cell_specs(plan), reader)
        classes = class_tables(spec, cell_specs(plan), reader) if per_class else []
        written: list[Path] = []
        for one in (table, *classes):
            _print(one)
            written += files.write(one, folder)
        written += _statistics(table, folder) if statistics else []
        written += _comparison(table, paired, noise_floor, folder) if paired is not None else []
        send_summary(plan, table, written, out=asked.out, tracking_uri=uri, on_note=_note)
        for path in written:
            typer.echo(str(path))
        passed = (not check or _check(table, golden)) and passed
    if not passed:
        raise typer.Exit(1)


def _check_options(
    noise_floor: str | None, paired: str | None, golden: Path | None, check: bool, num_studies: int
) -> None:
    if noise_floor is not None and paired is None:
        raise ConfigError("--noise-floor: give --paired ROW, too; it marks paired differences")
    if golden is not None and not check:
        raise ConfigError("--golden: give --check, too; it is what the check compares with")
    if golden is not None and num_studies > 1:
        raise ConfigError("--golden: it is the table of one study; check them one by one")


def _note(text: str) -> None:
    typer.echo(f"note: {text}", err=True)


def _print(table: "Table") -> None:
    from rich.console import Console

    from rml_dashboards.tables.console import console_table

    Console().print(console_table(table))


def _check(table: "Table", golden: Path | None) -> bool:
    from rml_dashboards.tables.check import check_golden, check_reported, check_text, is_passed

    lines = check_reported(table) if golden is None else check_golden(table, golden)
    against = "reported numbers" if golden is None else str(golden)
    typer.echo(f"\n{table.spec.name} against {against}:\n\n{check_text(lines, table.spec.digits)}")
    return is_passed(lines)


def _statistics(table: "Table", folder: Path) -> list[Path]:
    from rml_dashboards.comparisons.publish import write_statistics

    return write_statistics(table, folder)


def _comparison(table: "Table", against: str, floor: str | None, folder: Path) -> list[Path]:
    from rml_dashboards.comparisons.compare import compare_rows, noise_floor
    from rml_dashboards.comparisons.publish import write_comparison
    from rml_dashboards.comparisons.text import comparison_markdown

    stated = None if floor is None else noise_floor(table, floor)
    comparison = compare_rows(table, against, stated)
    typer.echo(f"\n{comparison_markdown(comparison)}")
    return write_comparison(comparison, folder)
