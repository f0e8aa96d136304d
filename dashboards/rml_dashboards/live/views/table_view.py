"""The table of results as `rml tables` has it, kept up to date while runs end."""

import threading
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Protocol

from rml_dashboards.errors import DashboardError
from rml_dashboards.live.reading.plans import ShownStudy
from rml_dashboards.live.reading.watch import Snapshot
from rml_dashboards.records.reader import Histories, RecordReader
from rml_dashboards.records.recorded_run import RecordedRun
from rml_dashboards.records.records import Records, to_records
from rml_dashboards.records.run_folder_reader import RunFolderReader
from rml_dashboards.studies.table import cell_specs, table_spec
from rml_dashboards.tables.entries import Table
from rml_dashboards.tables.publish import load_table
from rml_dashboards.tables.render import legend
from rml_dashboards.tables.texts import Grid, grid

NOTHING = Grid(header=(), lines=())
LEDGER_S = 30.0
"""How often a tracker may be asked for news."""


class RecordSource(Protocol):
    """Where a table's records come from."""

    def reader(self, snapshot: Snapshot) -> RecordReader:
        """A reader for the moment of a snapshot."""
        ...

    def moment(self) -> int:
        """Another number whenever records may have changed without a run folder's saying so."""
        ...


class FolderRecords:
    """Records from the run folders; a run is read again only when its status has changed."""

    def __init__(self, storage: str) -> None:
        self._folders = RunFolderReader(storage)
        self._lock = threading.Lock()
        self._known: dict[str, tuple[object, RecordedRun | None]] = {}

    def reader(self, snapshot: Snapshot) -> RecordReader:
        return _At(self, snapshot)

    def moment(self) -> int:
        return 0

    def histories(self, run_ids: Collection[str], metrics: Collection[str]) -> Histories:
        return self._folders.histories(run_ids, metrics)

    def records(self, snapshot: Snapshot, run_ids: Collection[str]) -> Records:
        wanted = [run_id for run_id in dict.fromkeys(run_ids) if run_id in snapshot.stamps]
        with self._lock:
            due = [
                run_id
                for run_id in wanted
                if run_id not in self._known
                or self._known[run_id][0] != _what_counts(snapshot, run_id)
            ]
            read, warnings = self._folders.recorded_runs(due, with_measured=False)
            by_id = {run.tags["rml.run_id"]: run for run in read}
            for run_id in due:
                self._known[run_id] = (_what_counts(snapshot, run_id), by_id.get(run_id))
            runs = [self._known[run_id][1] for run_id in wanted]
        return to_records([run for run in runs if run is not None], warnings)


def _what_counts(snapshot: Snapshot, run_id: str) -> object:
    """What a run's final scores depend on; not every heartbeat."""
    status = snapshot.status(run_id)
    return (status.state, status.attempt, status.seen if status.state != "running" else None)


class _At:
    """FolderRecords at the moment of a snapshot."""

    def __init__(self, source: FolderRecords, snapshot: Snapshot) -> None:
        self._source = source
        self._snapshot = snapshot

    def records(
        self, run_ids: Collection[str] | None = None, metrics: Collection[str] | None = None
    ) -> Records:
        wanted = self._snapshot.stamps if run_ids is None else run_ids
        return self._source.records(self._snapshot, wanted)

    def histories(self, run_ids: Collection[str], metrics: Collection[str]) -> Histories:
        return self._source.histories(run_ids, metrics)


class LedgerRecords:
    """Records from a tracker through its ledger."""

    def __init__(self, reader: RecordReader) -> None:
        self._reader = reader

    def reader(self, snapshot: Snapshot) -> RecordReader:
        return self._reader

    def moment(self) -> int:
        return int(time.time() // LEDGER_S)


@dataclass(frozen=True, kw_only=True)
class _Filled:
    """A table as it was filled."""

    basis: object
    """What it was made of."""
    head: dict[str, Any]
    layout: Grid
    table: Table | None = None
    """None where it could not be filled; the head says why."""


class TableViews:
    """Tables of studies, each filled anew when one of its runs has come to another state."""

    def __init__(self, source: RecordSource) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._filled: dict[str, _Filled] = {}

    def page(
        self, study: ShownStudy, snapshot: Snapshot, offset: int, limit: int
    ) -> dict[str, Any]:
        """Lines of the table from `offset` on, with its title, legend and footnotes."""
        filled = self._now(study, snapshot)
        lines = filled.layout.lines[offset : offset + limit]
        return filled.head | {
            "version": snapshot.version,
            "offset": offset,
            "total": len(filled.layout.lines),
            "lines": [[[cell.kind, cell.text] for cell in line] for line in lines],
        }

    def table(self, study: ShownStudy, snapshot: Snapshot) -> tuple[object, Table]:
        """The filled table, and what tells it from the same table before or after.

        Raises:
            DashboardError: it cannot be filled.
        """
        filled = self._now(study, snapshot)
        if filled.table is None:
            raise DashboardError(filled.head["problem"])
        return filled.basis, filled.table

    def reader(self, snapshot: Snapshot) -> RecordReader:
        """Where the tables come from."""
        return self._source.reader(snapshot)

    def _now(self, study: ShownStudy, snapshot: Snapshot) -> "_Filled":
        with self._lock:
            basis = self._basis(study, snapshot)
            known = self._filled.get(study.key)
            if known is None or known.basis != basis:
                known = self._fill(study, snapshot, basis)
                self._filled[study.key] = known
        return known

    def _basis(self, study: ShownStudy, snapshot: Snapshot) -> object:
        runs = tuple(_what_counts(snapshot, run.run_id) for run in study.plan.runs)
        return study.plan.written_at, self._source.moment(), runs

    def _fill(self, study: ShownStudy, snapshot: Snapshot, basis: object) -> "_Filled":
        try:
            reader = self._source.reader(snapshot)
            table = load_table(table_spec(study.plan), cell_specs(study.plan), reader)
        except DashboardError as error:
            return _Filled(basis=basis, head={"problem": str(error)}, layout=NOTHING)
        layout = grid(table)
        return _Filled(basis=basis, head=_head(table, layout), layout=layout, table=table)


def _head(table: Table, layout: Grid) -> dict[str, Any]:
    return {
        "problem": "",
        "title": table.spec.title,
        "caption": table.spec.caption,
        "header": layout.header,
        "legend": legend(table, in_words=True),
        "notes": table.notes,
        "warnings": table.warnings,
    }
