"""The ledger: a local parquet copy of what was read from MLflow, so that a table need not read
everything again.

One file per tracking store, replaced as a whole. It is a cache: deleting it costs one full read and
nothing else.
"""

import dataclasses
import hashlib
import json
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rml_dashboards.records.recorded_run import RecordedRun

VERSION = 2
"""2: every metric, by its true key."""
METADATA_KEY = b"rml_ledger"
FIELDS: "list[pa.Field[Any]]" = [
    pa.field("mlflow_run_id", pa.string()),
    pa.field("experiment_id", pa.string()),
    pa.field("experiment", pa.string()),
    pa.field("status", pa.string()),
    pa.field("deleted", pa.bool_()),
    pa.field("start_ms", pa.int64()),
    pa.field("end_ms", pa.int64()),
    pa.field("tags", pa.map_(pa.string(), pa.string())),
    pa.field("scores", pa.map_(pa.string(), pa.float64())),
]
SCHEMA = pa.schema(FIELDS)


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """Everything read so far from one tracking store."""

    runs: dict[str, RecordedRun] = field(default_factory=dict)
    """By MLflow run id."""
    experiments: dict[str, int] = field(default_factory=dict)
    """Creation time in ms by experiment id: tells whether the store is still the same one."""

    @property
    def read_to_ms(self) -> int:
        """End of the latest run known; runs that end later have not been read."""
        return max((run.end_ms for run in self.runs.values() if run.end_ms is not None), default=0)


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
    runs = [
        RecordedRun(**{**row, "tags": dict(row["tags"]), "scores": dict(row["scores"])})
        for row in table.to_pylist()
    ]
    return Ledger(
        runs={run.mlflow_run_id: run for run in runs}, experiments=header["experiments"]
    ), None


def save_ledger(ledger: Ledger, path: Path) -> None:
    """Write to a temporary name, then rename: a reader sees the old ledger or the new one."""
    header = json.dumps({"version": VERSION, "experiments": ledger.experiments}, sort_keys=True)
    rows = [
        {
            **dataclasses.asdict(run),
            "tags": sorted(run.tags.items()),
            "scores": sorted(run.scores.items()),
        }
        for run in sorted(ledger.runs.values(), key=lambda run: run.mlflow_run_id)
    ]
    table = pa.Table.from_pylist(rows, schema=SCHEMA.with_metadata({METADATA_KEY: header.encode()}))
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        pq.write_table(table, temporary)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
