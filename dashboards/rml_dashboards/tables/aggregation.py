"""Columns that show something else of a curve than its end: the evaluation that is best on held-out
images, or the mean of the last few."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from rml_dashboards.contract.metric_keys import HOLDOUT, MIOU
from rml_dashboards.contract.protocols import recorded_key
from rml_dashboards.records.reader import Histories, RecordReader
from rml_dashboards.tables.specification import CellSpec, ColumnSpec, TableSpec

HOLDOUT_MIOU = f"{HOLDOUT}/{MIOU}"
AGGREGATED = ("column", "run_id", "value")


def is_plain(column: ColumnSpec) -> bool:
    """Whether a column shows the last value that was recorded."""
    return column.aggregate == "last"


def moment_of(column: ColumnSpec) -> str:
    """What a protocol id calls the moment of the column's scores."""
    if column.aggregate == "mean_of_last":
        return f"mean_of_last_{column.last_k}"
    return column.aggregate


def aggregated_values(
    spec: TableSpec, cells: Sequence[CellSpec], reader: RecordReader
) -> pd.DataFrame | None:
    """Value of every run of the columns that are not plain: AGGREGATED, as recorded (not scaled);
    None where all are.

    A run that has recorded less than is asked for (no held-out score, fewer than k values) has no
    line.
    """
    columns = [column for column in spec.columns if not is_plain(column)]
    if not columns:
        return None
    labels = {column.label for column in columns}
    wanted = {cell.run_id for cell in cells if cell.column in labels}
    metrics = {spec.metric_of(column) for column in columns} | {HOLDOUT_MIOU}
    protocols = _protocols(reader, wanted)
    metrics |= {recorded_key(protocol, key) for protocol in protocols.values() for key in metrics}
    histories = reader.histories(wanted, metrics)
    lines = [
        (column.label, run_id, value)
        for column in columns
        for run_id, value in _of_column(spec, column, cells, histories, protocols)
    ]
    return pd.DataFrame(lines, columns=list(AGGREGATED))


def _protocols(reader: RecordReader, run_ids: set[str]) -> dict[str, str]:
    runs = reader.records(run_ids, metrics=()).runs
    return dict(zip(runs["run_id"], runs["protocol"], strict=True))


def _of_column(
    spec: TableSpec,
    column: ColumnSpec,
    cells: Sequence[CellSpec],
    histories: Histories,
    protocols: dict[str, str],
) -> Iterator[tuple[str, float]]:
    values = {
        key: own.set_index("step")["value"]
        for key, own in histories.values.groupby(["run_id", "metric"], sort=False)
    }
    empty = pd.Series(dtype=np.float64)
    for run_id in dict.fromkeys(cell.run_id for cell in cells if cell.column == column.label):
        metric = spec.metric_of(column)
        key = recorded_key(protocols.get(run_id, ""), metric)
        curve = values.get((run_id, key), values.get((run_id, metric), empty))
        held_out = values.get((run_id, HOLDOUT_MIOU), empty)
        value = _aggregate(column, curve, held_out)
        if value is not None:
            yield run_id, value


def _aggregate(column: ColumnSpec, curve: pd.Series, held_out: pd.Series) -> float | None:
    """One number of a curve by step; None where too little is recorded."""
    if column.aggregate == "mean_of_last":
        last = curve.sort_index().tail(column.last_k)
        return float(last.mean()) if len(last) == column.last_k else None
    both = held_out[held_out.index.isin(curve.index)].sort_index()
    if both.empty:
        return None
    return float(curve.loc[both.index[int(np.argmax(both.to_numpy()))]])
