"""From recorded runs to table files, in one call: what `rml tables` and the summary of a launch
use."""

from collections.abc import Sequence
from pathlib import Path

from rml_dashboards.records.reader import RecordReader
from rml_dashboards.tables.aggregation import aggregated_values
from rml_dashboards.tables.entries import Table
from rml_dashboards.tables.filling import fill_table
from rml_dashboards.tables.html import RunLink, html
from rml_dashboards.tables.latex import latex
from rml_dashboards.tables.render import csv, markdown
from rml_dashboards.tables.specification import CellSpec, TableSpec
from rml_dashboards.writing.files import write_text


def load_table(spec: TableSpec, cells: Sequence[CellSpec], reader: RecordReader) -> Table:
    """The filled table with its footnotes.

    Raises DashboardError when a cell has no place in the table, or when the records cannot be read.
    """
    everything = (*cells, *spec.beside_cells())
    wanted = {cell.run_id for cell in everything}
    metrics = {spec.metric_of(column) for column in spec.columns}
    records = reader.records(wanted, metrics)
    return fill_table(spec, cells, records, aggregated_values(spec, everything, reader))


def write_latex(table: Table, out_dir: Path) -> list[Path]:
    """Write `<name>.tex`, a `table` environment, into `out_dir` and return its path."""
    return [write_text(latex(table), out_dir / f"{table.spec.name}.tex")]


def write_html(table: Table, out_dir: Path, link: RunLink) -> list[Path]:
    """Write `<name>.html`, a page that stands alone, into `out_dir` and return its path.

    Args:
        link: see `run_links`.
    """
    return [write_text(html(table, link), out_dir / f"{table.spec.name}.html")]


def write_table(table: Table, out_dir: Path) -> list[Path]:
    """Write `<name>.md` and `<name>.csv` into `out_dir` and return their paths. Existing files are
    replaced as a whole."""
    return [
        write_text(markdown(table), out_dir / f"{table.spec.name}.md"),
        write_text(csv(table), out_dir / f"{table.spec.name}.csv"),
    ]
