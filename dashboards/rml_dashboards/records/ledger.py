"""The ledger: a local parquet copy of what was read from MLflow, so that a table need not read
everything again.

One file per tracking store, replaced as a whole. It is a cache: deleting it costs one full read and
nothing else.
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rml_dashboards.records.run_table import SCHEMA
from rml_dashboards.writing.files import whole_file

VERSION = 2
"""2: every metric, by its true key."""
METADATA_KEY = b"rml_ledger"


@dataclass(frozen=True, kw_only=True, eq=False)
class Ledger:
    """Everything read so far from one tracking store."""

    table: pa.Table = field(default_factory=SCHEMA.empty_table)
    """One row per MLflow run, see run_table.py."""
    experiments: dict[str, int] = field(default_factory=dict)
    """Creation time in ms by experiment id: tells whether the store is still the same one."""

    @property
    def read_to_ms(self) -> int:
        """End of the latest run known; runs that end later have not been read."""
        return pc.max(self.table.column("end_ms")).as_py() or 0

    def equals(self, other: "Ledger") -> bool:
        """Whether both hold the same."""
        return self.experiments == other.experiments and bool(self.table.equals(other.table))


def ledger_path(folder: Path, tracking_uri: str) -> Path:
    """File of one tracking store; the URI itself (it may hold a password or a home folder) is not
    written down."""
    return folder / f"runs-{hashlib.sha256(tracking_uri.encode()).hexdigest()[:8]}.parquet"


def load_ledger(path: Path) -> tuple[Ledger, str | None]:
    """The stored ledger; or an empty one and, when the file is damaged or of another version, a
    sentence saying so."""
    if not path.is_file():
        return Ledger(), None
    try:
        table = pq.read_table(path)  # its schema is compared below, before a value is used
        header = json.loads((table.schema.metadata or {}).get(METADATA_KEY, b"{}"))
    except (pa.ArrowException, OSError, ValueError) as error:
        return Ledger(), f"the ledger {path.name} is damaged ({error}); everything was read again"
    if header.get("version") != VERSION or not table.schema.equals(SCHEMA):
        return Ledger(), f"the ledger {path.name} has another format; everything was read again"
    return Ledger(
        table=table.replace_schema_metadata(None), experiments=header["experiments"]
    ), None


def save_ledger(ledger: Ledger, path: Path) -> None:
    """Write to a temporary name, then rename: a reader sees the old ledger or the new one."""
    header = json.dumps({"version": VERSION, "experiments": ledger.experiments}, sort_keys=True)
    table = ledger.table.replace_schema_metadata({METADATA_KEY: header.encode()})
    with whole_file(path) as temporary:
        pq.write_table(table, temporary)
