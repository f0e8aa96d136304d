"""From recorded runs to table files, in one call: what `rml tables` and the summary of a launch
use."""

from collections.abc import Sequence
from pathlib import Path

from rml_dashboards.files import write_text
from rml_dashboards.records.mlflow_reader import read_records
from rml_dashboards.tables.entries import Table
from rml_dashboards.tables.filling import build
from rml_dashboards.tables.render import csv, markdown
from rml_dashboards.tables.specification import CellSpec, TableSpec


def load_table(
    spec: TableSpec,
    cells: Sequence[CellSpec],
    tracking_uri: str,
    ledger_folder: Path,
    *,
    fresh: bool = False,
) -> Table:
    """The filled table with its footnotes. `fresh` ignores the ledger and reads the whole store
    again.

    Raises DashboardError when a cell has no place in the table, or when there is neither store nor
    ledger.
    """
    return build(spec, cells, read_records(tracking_uri, ledger_folder, fresh=fresh))


def write_tables(
    spec: TableSpec,
    cells: Sequence[CellSpec],
    tracking_uri: str,
    out_dir: Path,
    *,
    ledger_folder: Path | None = None,
    fresh: bool = False,
) -> list[Path]:
    """Write `<name>.md` and `<name>.csv` into `out_dir` and return their paths; the ledger lies in
    `out_dir`/ledger unless a folder is given. Existing files are replaced as a whole."""
    table = load_table(spec, cells, tracking_uri, ledger_folder or out_dir / "ledger", fresh=fresh)
    return [
        write_text(markdown(table), out_dir / f"{spec.name}.md"),
        write_text(csv(table), out_dir / f"{spec.name}.csv"),
    ]
