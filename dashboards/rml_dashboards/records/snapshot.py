"""Records that are read once and asked for many times."""

from collections.abc import Collection

from rml_dashboards.records.reader import Histories, RecordReader
from rml_dashboards.records.records import Records


class Snapshot:
    """A reader that gives what another one read of some runs when it was first asked: all that is
    made of it says the same, and no run folder is opened again for each table and figure.

    Histories are read anew each time: they are large, and nobody asks for the same ones twice.
    """

    def __init__(self, reader: RecordReader, run_ids: Collection[str]) -> None:
        self._reader = reader
        self._run_ids = frozenset(run_ids)
        self._records: Records | None = None

    def records(
        self, run_ids: Collection[str] | None = None, metrics: Collection[str] | None = None
    ) -> Records:
        """All of its runs with every metric; other runs are left to the reader itself."""
        if run_ids is None or not self._run_ids.issuperset(run_ids):
            return self._reader.records(run_ids, metrics)
        if self._records is None:
            self._records = self._reader.records(self._run_ids, None)
        return self._records

    def histories(self, run_ids: Collection[str], metrics: Collection[str]) -> Histories:
        """See `RecordReader`."""
        return self._reader.histories(run_ids, metrics)
