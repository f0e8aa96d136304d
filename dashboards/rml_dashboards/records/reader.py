"""What every reader of recorded runs gives: last values for tables, whole histories for figures."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from rml_dashboards.records.records import Records

COLUMNS = ("run_id", "metric", "step", "value")
Point = tuple[str, str, int, int, float]
"""Run id, metric, step, time in ms, value."""


@dataclass(frozen=True, kw_only=True)
class Histories:
    """Recorded values of some metrics of some runs."""

    values: pd.DataFrame
    """Long form, by step within run and metric: run_id, metric, step, value (as recorded,
    finite)."""
    keys: dict[str, frozenset[str]]
    """Run id → every metric that the run has recorded, wanted or not."""


class RecordReader(Protocol):
    """Reads recorded runs from one place."""

    def records(
        self, run_ids: Collection[str] | None = None, metrics: Collection[str] | None = None
    ) -> Records:
        """Every wanted run that is recorded, with the last value of every wanted metric.

        None: all of them; a metric that ends in `/` stands for all that begin so. A reader may
        give more than was asked for.

        Raises:
            DashboardError: the place cannot be read at all.
        """
        ...

    def histories(self, run_ids: Collection[str], metrics: Collection[str]) -> Histories:
        """Everything that the wanted runs reported of the wanted metrics over time; a reader may
        give more.

        Raises:
            DashboardError: the place cannot be read at all.
        """
        ...


def to_histories(points: Collection[Point], keys: dict[str, frozenset[str]]) -> Histories:
    """Histories of points in any order; a step that was reported twice (by an attempt that died
    unseen, say) has the later value."""
    ids, names, steps, times, values = zip(*points, strict=True) if points else ((),) * 5
    runs, run_ids = pd.factorize(np.array(ids, dtype=object), sort=True)
    metrics, metric_names = pd.factorize(np.array(names, dtype=object), sort=True)
    step = np.array(steps, dtype=np.int64)
    value = np.array(values, dtype=np.float64)
    order = np.lexsort((np.array(times, dtype=np.int64), step, metrics, runs))
    # A database stores the largest float in the place of infinity.
    order = order[np.abs(value[order]) < np.finfo(np.float64).max]
    frame = pd.DataFrame(
        {"run": runs[order], "metric": metrics[order], "step": step[order], "value": value[order]}
    ).drop_duplicates(["run", "metric", "step"], keep="last")
    frame["run_id"] = pd.array(run_ids, dtype="str").take(frame["run"].to_numpy())
    frame["metric"] = pd.array(metric_names, dtype="str").take(frame["metric"].to_numpy())
    return Histories(values=frame[list(COLUMNS)].reset_index(drop=True), keys=keys)
