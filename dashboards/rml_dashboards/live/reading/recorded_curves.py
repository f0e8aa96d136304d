"""Curves of runs that have no folder here, as a tracker has them."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from rml_dashboards.errors import DashboardError
from rml_dashboards.live.reading.recorded import EVERY_S
from rml_dashboards.records.reader import Histories, RecordReader
from rml_dashboards.statistics.thinning import kept_places

MOST_KEPT = 64
"""Answers that are kept, the newest."""
MOST_POINTS = 4000
"""Of one curve; a screen shows fewer."""
Asked = tuple[str, frozenset[str]]
"""A run and the metrics that somebody wants of it."""


@dataclass(frozen=True, kw_only=True)
class _Kept:
    histories: Histories
    read_at: float


class RecordedCurves:
    """Reads the curves of a run when somebody opens its page: of a run that has ended once, of
    another again after a while."""

    def __init__(self, reader: RecordReader, clock: Callable[[], float] = time.monotonic) -> None:
        self._reader = reader
        self._clock = clock
        self._kept: OrderedDict[Asked, _Kept] = OrderedDict()
        self._lock = threading.Lock()

    def read(
        self, run_id: str, metrics: Collection[str], *, has_ended: bool
    ) -> tuple[Histories | None, str]:
        """Curves of one run, and why the tracker cannot be read; then what it said before counts,
        None where that is nothing."""
        asked = (run_id, frozenset(metrics))
        with self._lock:  # who comes second finds what the first has read
            kept = self._kept.get(asked)
            if kept is None or not (has_ended or self._clock() - kept.read_at < EVERY_S):
                try:
                    found = _bounded(self._reader.histories([run_id], metrics))
                except DashboardError as error:
                    return kept.histories if kept else None, str(error)
                kept = _Kept(histories=found, read_at=self._clock())
                self._kept[asked] = kept
            self._kept.move_to_end(asked)
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
            return kept.histories, ""


def _bounded(histories: Histories) -> Histories:
    """At most MOST_POINTS of every curve."""
    parts = [np.zeros(0, dtype=np.int64)]
    values = histories.values["value"].to_numpy(dtype=np.float64)
    curves: Any = histories.values.groupby("metric", sort=False).indices
    for places in curves.values():
        parts.append(places[kept_places(values[places], MOST_POINTS)])
    kept = np.sort(np.concatenate(parts))
    return Histories(values=histories.values.iloc[kept].reset_index(drop=True), keys=histories.keys)
