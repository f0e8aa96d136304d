"""`rml tables`: the tables of studies from what was recorded."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

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


def tables(
    studies: StudiesOrNames,
    set_: Overrides = None,
    plugin: PluginsForPlanning = None,
    profile: Profile = None,
    out: Out = DEFAULT_OUT,
    storage: Storage = None,
    data_root: DataRoot = None,
    tracking_uri: TrackingUri = None,
    to: To = None,
    fresh: Fresh = False,
    emphasis: EmphasisOption = "best",
    statistics: Statistics = False,
    paired: Paired = None,
    noise_floor: NoiseFloorOption = None,
    latex: Latex = False,
) -> None:
    """Fill the table of each study with mean ± std over seeds, print it, and write it as Markdown
    and CSV.

    Goes by the plan that `rml plan` or `rml launch` wrote: needs no images.
    """
    from rich.console import Console

    from rml_dashboards.records.opening import open_records
    from rml_dashboards.studies.table import cell_specs, table_spec
    from rml_dashboards.tables.console import console_table
    from rml_dashboards.tables.publish import load_table, write_latex, write_table
    from rml_platform.tracking.opening import tracking_uri_or_default
    from rml_platform.views.study_plan import find_study_plans

    if noise_floor is not None and paired is None:
        raise ConfigError("--noise-floor: give --paired ROW, too; it marks paired differences")
    reader = open_records(
        tracking_uri_or_default(tracking_uri, out),
        storage=storage or str(out),
        ledger_folder=out / "ledger",
        fresh=fresh,
    )
    plans = find_study_plans(
        studies,
        overrides=set_,
        plugins=plugin,
        profile=profile,
        out=out,
        storage=storage,
        data_root=data_root,
    )
    for plan in plans:
        spec = dataclasses.replace(table_spec(plan), emphasis=cast("Emphasis", emphasis))
        table = load_table(spec, cell_specs(plan), reader)
        Console().print(console_table(table))
        folder = to or out / "studies" / plan.name
        files = write_table(table, folder)
        files += write_latex(table, folder) if latex else []
        files += _statistics(table, folder) if statistics else []
        files += _comparison(table, paired, noise_floor, folder) if paired is not None else []
        for path in files:
            typer.echo(str(path))


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
