"""Recorded runs as tidy pandas tables, the same for every reader."""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from rml_dashboards.contract.metric_keys import FINAL_CLASS_IOU
from rml_dashboards.contract.protocols import short_keys
from rml_dashboards.contract.tags import PREFIX, Tag
from rml_dashboards.records.recorded_run import RecordedRun
from rml_dashboards.records.run_table import Pairs, pairs_of, to_run_table

IntArray = npt.NDArray[np.int64]

TAG_COLUMNS = tuple(tag.short for tag in Tag)
RUN_COLUMNS = ("mlflow_run_id", "experiment", "status", "start_time", "end_time", *TAG_COLUMNS)
SCORE_COLUMNS = ("run_id", "mlflow_run_id", "metric", "value")
OVERALL = re.compile(r"final/[^/]+")
"""Keys of the scores that stand beside the runs, too."""


@dataclass(frozen=True, kw_only=True)
class Records:
    """Recorded runs, one record per run id."""

    runs: pd.DataFrame
    """One row per run: RUN_COLUMNS, then `final/miou` and the other overall final scores. Times are
    UTC. `mlflow_run_id` is empty where runs were read from their folders."""
    scores: pd.DataFrame
    """Long form, one row per run and metric: run_id, mlflow_run_id, metric, value (last recorded;
    fractions)."""
    warnings: tuple[str, ...] = ()

    def iou_by_class(self) -> pd.DataFrame:
        """Long form of the final IoU: run_id, mlflow_run_id, class_name, iou (fraction; NaN: class
        never occurs)."""
        per_class = self.scores[self.scores["metric"].str.startswith(FINAL_CLASS_IOU)]
        named = per_class.assign(class_name=per_class["metric"].str.removeprefix(FINAL_CLASS_IOU))
        return named.rename(columns={"value": "iou"})[
            ["run_id", "mlflow_run_id", "class_name", "iou"]
        ].reset_index(drop=True)


def to_records(runs: Sequence[RecordedRun], warnings: Iterable[str] = ()) -> Records:
    """Tidy tables of the given runs; see `records_of`."""
    return records_of(to_run_table(runs), warnings)


def records_of(
    table: pa.Table, warnings: Iterable[str] = (), metrics: Collection[str] | None = None
) -> Records:
    """Tidy tables of recorded runs; where a run id has several MLflow runs, one is chosen and the
    others reported.

    Args:
        table: runs as run_table.py has them; deleted ones are left out.
        metrics: keys of the scores to give, also of those that the first network has under a
            shorter key; one that ends in `/` stands for all that begin so. None: all.
    """
    # to filter is to copy the scores of all runs
    some_deleted = pc.any(table.column("deleted")).as_py()
    there = table.filter(~pc.field("deleted")) if some_deleted else table
    frame, repeated = _one_per_run_id(_run_frame(there))
    places = frame.pop("place").to_numpy()
    scores = pairs_of(there, "scores")
    line_of_row = np.full(len(there), -1, dtype=np.int64)
    line_of_row[places] = np.arange(len(frame))
    lines = line_of_row[scores.rows]
    values = scores.values.to_numpy()
    overall = {}
    for name in sorted(filter(OVERALL.fullmatch, scores.names)):
        own = scores.places_of(name)
        own = own[lines[own] >= 0]
        column = np.full(len(frame), np.nan)
        column[lines[own]] = values[own]
        overall[name] = column
    runs = frame.assign(**overall)
    tidy = _score_frame(runs, scores, lines, wanted=None if metrics is None else set(metrics))
    return Records(runs=runs, scores=tidy, warnings=(*warnings, *repeated))


def _score_frame(
    runs: pd.DataFrame, scores: Pairs, lines: IntArray, *, wanted: set[str] | None
) -> pd.DataFrame:
    """Wanted scores of the chosen runs, by run and metric."""
    keys = None if wanted is None else wanted | {key for name in wanted for key in short_keys(name)}
    begins = tuple(key for key in keys or () if key.endswith("/"))
    is_wanted = np.array(
        [keys is None or name in keys or name.startswith(begins) for name in scores.names],
        dtype=bool,
    )
    kept = np.flatnonzero((lines >= 0) & is_wanted[scores.codes])
    rank = np.argsort(np.argsort(np.array(scores.names, dtype=object)))
    order = kept[np.lexsort((rank[scores.codes[kept]], lines[kept]))]
    ids = [
        pa.array(runs[column], pa.string()).take(lines[order])
        for column in ("run_id", "mlflow_run_id")
    ]
    metric = pa.array(scores.names, pa.string()).take(scores.codes[order])
    value = scores.values.take(pa.array(order))
    frame: pd.DataFrame = pa.table([*ids, metric, value], names=list(SCORE_COLUMNS)).to_pandas()
    return frame


def _run_frame(table: pa.Table) -> pd.DataFrame:
    """One line per run: RUN_COLUMNS, and `place`, its row in the table."""
    tags = pairs_of(table, "tags")
    frame: pd.DataFrame = table.select(["mlflow_run_id", "experiment", "status"]).to_pandas()
    for column, source in (("start_time", "start_ms"), ("end_time", "end_ms")):
        frame[column] = pd.to_datetime(table.column(source).to_pandas(), unit="ms", utc=True)
    for column in TAG_COLUMNS:
        own = tags.places_of(PREFIX + column)
        texts = np.full(len(frame), "", dtype=object)
        texts[tags.rows[own]] = tags.values.take(pa.array(own)).to_numpy(zero_copy_only=False)
        frame[column] = pd.array(texts, dtype="str")
    for column in (Tag.SEED.short, Tag.ATTEMPT.short):
        frame[column] = pd.to_numeric(frame[column], errors="coerce").astype("Int64")
    frame["dirty"] = frame["dirty"].str.lower().isin(["true", "1", "yes"])
    return frame.assign(place=np.arange(len(frame)))


def _one_per_run_id(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Of several MLflow runs of one run id keep the newest finished one, else the newest; say which
    others exist."""
    moment = frame["end_time"].where(frame["status"] == "FINISHED", frame["start_time"])
    order = frame.assign(finished=frame["status"] == "FINISHED", moment=moment)
    order = order.sort_values(
        ["run_id", "finished", "moment", "mlflow_run_id"], ascending=[True, False, False, True]
    )
    warnings = []
    for run_id, group in order[order["run_id"].duplicated(keep=False)].groupby("run_id"):
        listed = [
            f"{i} ({status})"
            for i, status in zip(group["mlflow_run_id"], group["status"], strict=True)
        ]
        warnings.append(
            f"run {run_id} has {len(listed)} MLflow runs; {listed[0]} is used, not "
            f"{', '.join(listed[1:])}"
        )
    return order.drop_duplicates("run_id").drop(columns=["finished", "moment"]).reset_index(
        drop=True
    ), warnings
