"""Records that are read once and asked for many times."""

from collections.abc import Collection

from rml_dashboards.contract.metric_keys import FINAL
from rml_dashboards.records.reader import Histories, RecordReader
from rml_dashboards.records.records import Records

OF_RESULTS = f"{FINAL}/"


class Snapshot:
    """A reader that gives what another one read of some runs when it was first asked: all that is
    made of it says the same, and no run folder is opened again for each table and figure.

    Scores of results alone are read first: whoever asks for no others does not wait for what was
    measured on the way. Of histories the widest that was asked for is kept.
    """

    def __init__(self, reader: RecordReader, run_ids: Collection[str]) -> None:
        self._reader = reader
        self._run_ids = frozenset(run_ids)
        self._everything: Records | None = None
        self._results: Records | None = None
        self._histories: Histories | None = None
        self._asked: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())

    def covers(self, run_ids: Collection[str]) -> bool:
        """Whether what it keeps is of all these runs."""
        return self._run_ids.issuperset(run_ids)

    def records(
        self, run_ids: Collection[str] | None = None, metrics: Collection[str] | None = None
    ) -> Records:
        """All of its runs with every metric that is of the wanted kind; other runs are left to the
        reader itself."""
        if run_ids is None or not self.covers(run_ids):
            return self._reader.records(run_ids, metrics)
        is_of_results = metrics is not None and all(key.startswith(OF_RESULTS) for key in metrics)
        if is_of_results and self._everything is None:
            self._results = self._results or self._reader.records(self._run_ids, {OF_RESULTS})
            return self._results
        self._everything = self._everything or self._reader.records(self._run_ids, None)
        return self._everything

    def histories(self, run_ids: Collection[str], metrics: Collection[str]) -> Histories:
        """See `RecordReader`."""
        runs, keys = self._asked
        if self._histories is None or not (runs.issuperset(run_ids) and keys.issuperset(metrics)):
            self._histories = self._reader.histories(run_ids, metrics)
            self._asked = (frozenset(run_ids), frozenset(metrics))
        return self._histories


def snapshot_of(reader: RecordReader, run_ids: Collection[str]) -> Snapshot:
    """The reader itself where it is a snapshot of these runs, else a new one."""
    if isinstance(reader, Snapshot) and reader.covers(run_ids):
        return reader
    return Snapshot(reader, run_ids)
