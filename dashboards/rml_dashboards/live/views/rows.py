"""Rows of a study beside each other: scores, curves over seeds, paired differences, pictures.

All numbers are those of tables and figures; here they only become values that JSON knows.
"""

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import pandas as pd

from rml_dashboards.contract.metric_keys import FINAL
from rml_dashboards.contract.metric_names import axis_label
from rml_dashboards.contract.planned import PlannedRun
from rml_dashboards.errors import DashboardError
from rml_dashboards.live.reading.plans import ShownStudy
from rml_dashboards.live.reading.run_status import finite
from rml_dashboards.live.reading.storage import RunStorage
from rml_dashboards.live.reading.watch import Snapshot
from rml_dashboards.live.views.curves import in_order
from rml_dashboards.live.views.run_views import picture_names
from rml_dashboards.live.views.table_view import TableViews
from rml_dashboards.statistics.paired import is_tested
from rml_dashboards.studies.beside import RowCurve, RowDifferences, differences_from, row_curves
from rml_dashboards.studies.plan import usual_reference
from rml_dashboards.tables.entries import Entry, Table

T = TypeVar("T")
MOST_DRAWN = 14
"""Rows in one chart of curves."""
DRAWN_FIRST = 8
"""The same before somebody chooses."""
MOST_PICTURES = 200
"""Names of pictures in one answer."""
MOST_TRIED = 5
"""Seeds, and runs of each, that are looked at for pictures before somebody chooses."""
MOST_KEPT = 32
"""Answers that are kept, the newest."""
CURVES_S = 10.0
"""How old curves may be while one of their runs is at work."""
NUMBERS = (
    *("n", "mean", "std", "ci_low", "ci_high"),
    *("effect_size", "improvement", "p_holm", "seeds_to_tell_1"),
)
"""Of a difference; those after the first five only where it was tested."""


class RowViews:
    """What the page of a study's rows shows, reckoned anew when one of its runs has come to another
    state."""

    def __init__(self, tables: TableViews) -> None:
        self._tables = tables
        self._kept: OrderedDict[object, tuple[object, Any]] = OrderedDict()
        self._lock = threading.Lock()

    def scores(
        self, study: ShownStudy, snapshot: Snapshot, column: str, offset: int, limit: int
    ) -> dict[str, Any]:
        """Rows of a column from `offset` on, each with its single scores, mean and interval."""
        head = {
            "version": snapshot.version,
            "column": column,
            "against": usual_reference(study.plan),
            "offset": offset,
        }
        try:
            _, table = self._tables.table(study, snapshot)
        except DashboardError as error:
            return head | {"problem": str(error), "total": 0, "rows": [], "choices": []}
        groups = {row.label: row.group for row in table.spec.rows}
        entries = [one for one in table.cells() if one.column == column and one.traces]
        scored = [one.row for one in entries if one.count("done")]
        values = [trace.value for one in entries for trace in one.traces if trace.value is not None]
        return head | {
            "problem": "",
            **measure(table, column),
            "digits": study.plan.table.digits,
            "total": len(entries),
            "choices": scored,
            "domain": domain(values),
            "drawn": _drawn_first(entries),
            "rows": [_row(one, groups[one.row]) for one in entries[offset : offset + limit]],
            "warnings": table.warnings,
        }

    def differences(
        self,
        study: ShownStudy,
        snapshot: Snapshot,
        column: str,
        against: str,
        offset: int,
        limit: int,
    ) -> dict[str, Any]:
        """Paired differences of the rows of a column from one of them, those of the table's rows
        from `offset` on; `problem`: why there are none."""
        head = {"version": snapshot.version, "against": against, "offset": offset}
        try:
            basis, table = self._tables.table(study, snapshot)
            key = ("differences", study.key, column, against)
            found = self._once(key, basis, lambda: differences_from(table, column, against))
        except DashboardError as error:
            return head | {"problem": str(error), "total": 0, "lines": [], "notes": []}
        lines = found.lines.iloc[offset : offset + limit]
        is_compared = found.lines["n"].map(is_tested).astype(bool)  # also where there is no line
        tested = found.lines[is_compared]
        intervals = [*tested["ci_low"], *tested["ci_high"]]
        return head | {
            "problem": "",
            **measure(table, column),
            "digits": study.plan.table.digits,
            "total": len(found.lines),
            "domain": domain([0.0, *found.pairs["difference"], *intervals]),
            "lines": [_difference(line, found) for line in lines.to_dict("records")],
            "notes": found.notes,
        }

    def curves(
        self,
        study: ShownStudy,
        snapshot: Snapshot,
        column: str,
        metric: str,
        rows: Sequence[str],
    ) -> dict[str, Any]:
        """Mean and spread over seeds of a metric, for some rows of a column."""
        head = {"version": snapshot.version, "metric": metric}
        shown = tuple(dict.fromkeys(rows))[:MOST_DRAWN]
        try:
            basis, _ = self._tables.table(study, snapshot)
            key = ("curves", study.key, column, metric, shown)
            found = self._once(
                key,
                (basis, _moment(study, snapshot)),
                lambda: row_curves(
                    study.plan,
                    self._tables.reader(snapshot),
                    column=column,
                    metric=metric,
                    rows=shown,
                ),
            )
        except DashboardError as error:
            return head | {"problem": str(error), "curves": [], "metrics": [], "notes": []}
        return head | {
            "problem": "",
            "curves": [_curve(curve) for curve in found.curves],
            "metrics": in_order(key for key in found.metrics if not key.startswith(f"{FINAL}/")),
            "notes": found.notes,
        }

    def _once(self, key: object, basis: object, work: Callable[[], T]) -> T:
        """What `work` gives, made anew when the basis has changed."""
        with self._lock:  # who comes second finds what the first has reckoned
            known = self._kept.get(key)
            if known is None or known[0] != basis:
                known = (basis, work())
                self._kept[key] = known
            self._kept.move_to_end(key)
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        found: T = known[1]
        return found


def _drawn_first(entries: Sequence[Entry]) -> list[str]:
    """Rows whose curves are shown before somebody chooses: those that have all their scores, else
    some, else none, in the order of the table."""
    order = sorted(entries, key=lambda one: (one.n < one.n_expected) + (one.n == 0))
    chosen = {one.row for one in order[:DRAWN_FIRST]}
    return [one.row for one in entries if one.row in chosen]


def _moment(study: ShownStudy, snapshot: Snapshot) -> int:
    """Another number after a while, as long as a run of the study is at work."""
    runs = study.plan.runs
    is_growing = any(snapshot.status(run.run_id).state == "running" for run in runs)
    return int(time.time() // CURVES_S) if is_growing else 0


def measure(table: Table, column: str) -> dict[str, str]:
    """What the numbers of a column are: `measure` in words, as beside an axis, and `key` of the
    metric in the records."""
    spec = next(one for one in table.spec.columns if one.label == column)
    key = table.spec.metric_of(spec)
    return {"measure": axis_label([key], table.spec.scale), "key": key}


def domain(values: Iterable[float]) -> list[float] | None:
    """The lowest and the highest of the finite values; None where there is none."""
    known = [value for value in map(finite, values) if value is not None]
    return [min(known), max(known)] if known else None


def _row(entry: Entry, group: str) -> dict[str, Any]:
    numbers = ("mean", "std", "ci_low", "ci_high")
    return {
        "label": entry.row,
        "group": group,
        "status": entry.status,
        "n": entry.n,
        "n_expected": entry.n_expected,
        **{name: finite(getattr(entry, name)) for name in numbers},
        "runs": [
            {
                "run_id": trace.run_id,
                "seed": trace.seed,
                "state": trace.state,
                "value": finite(trace.value),
            }
            for trace in entry.traces
        ],
    }


def _difference(line: Mapping[Any, Any], found: RowDifferences) -> dict[str, Any]:
    pairs: pd.DataFrame = found.pairs[found.pairs["row"] == line["row"]]
    return {
        "row": line["row"],
        **{name: finite(line.get(name)) for name in NUMBERS},
        "stars": line.get("stars", ""),
        "is_tested": "p_holm" in line and is_tested(line["n"]),
        "is_below_floor": bool(line.get("below_floor", False)),
        "pairs": [
            {"seed": seed, "value": value, "other": other, "difference": difference}
            for seed, value, other, difference in zip(
                pairs["seed"].tolist(),
                pairs["value"].tolist(),
                pairs["other"].tolist(),
                pairs["difference"].tolist(),
                strict=True,
            )
        ],
    }


def _curve(curve: RowCurve) -> dict[str, Any]:
    return {
        "row": curve.row,
        "n": curve.n,
        "n_expected": curve.n_expected,
        "points": [[step, mean, finite(std)] for step, mean, std in curve.points],
    }


def row_pictures(
    storage: RunStorage,
    study: ShownStudy,
    snapshot: Snapshot,
    column: str,
    seed: int | None,
    offset: int,
    limit: int,
) -> dict[str, Any]:
    """Of each row of a column the run of one seed with the names of its pictures.

    Args:
        seed: None, or one that the column does not have: of those under which most rows are done
            the first that has left pictures.
    """
    runs: dict[int, dict[str, PlannedRun]] = {}
    for cell, run in study.plan.cells:
        if cell.column == column:
            runs.setdefault(cell.seed, {})[cell.row] = run
    if seed is None or seed not in runs:
        seed = _seed_with_pictures(storage, snapshot, runs)
    own = runs.get(seed, {})
    labels = [row.label for row in study.plan.rows if row.label in own]
    shown = [
        {
            "label": label,
            "run_id": own[label].run_id,
            "state": snapshot.status(own[label].run_id).state,
            "pictures": picture_names(storage, own[label].run_id),
        }
        for label in labels[offset : offset + limit]
    ]
    counts = Counter(name for row in shown for name in row["pictures"])
    names = sorted(counts, key=lambda name: (-counts[name], name))
    return {
        "version": snapshot.version,
        "seed": seed,
        "seeds": list(runs),
        "names": names[:MOST_PICTURES],
        "is_same_data": len({run.data_hash for run in own.values()}) < 2,
        "total": len(labels),
        "offset": offset,
        "rows": shown,
    }


def _seed_with_pictures(
    storage: RunStorage, snapshot: Snapshot, runs: Mapping[int, Mapping[str, PlannedRun]]
) -> int:
    """The seed whose pictures are shown before somebody chooses; 0 where there is none at all."""
    done = {
        seed: [run.run_id for run in own.values() if snapshot.status(run.run_id).state == "done"]
        for seed, own in runs.items()
    }
    order = sorted(runs, key=lambda seed: -len(done[seed]))
    for seed in order[:MOST_TRIED]:
        if any(picture_names(storage, run_id) for run_id in done[seed][:MOST_TRIED]):
            return seed
    return order[0] if order else 0
