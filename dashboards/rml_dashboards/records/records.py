"""Recorded runs as tidy pandas tables, the same for every reader."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from rml_dashboards.contract.metric_keys import FINAL_CLASS_IOU
from rml_dashboards.contract.tags import PREFIX, Tag
from rml_dashboards.records.recorded_run import RecordedRun

TAG_COLUMNS = tuple(tag.short for tag in Tag if tag is not Tag.FAILURE)
RUN_COLUMNS = ("mlflow_run_id", "experiment", "status", "start_time", "end_time", *TAG_COLUMNS)


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
    """Tidy tables of the given runs; where a run id has several MLflow runs, one is chosen and the
    others reported."""
    frame = pd.DataFrame([_row(run) for run in runs], columns=list(RUN_COLUMNS))
    for column in ("start_time", "end_time"):
        frame[column] = pd.to_datetime(frame[column], unit="ms", utc=True)
    for column in (Tag.SEED.short, Tag.ATTEMPT.short):
        frame[column] = pd.to_numeric(frame[column], errors="coerce").astype("Int64")
    frame["dirty"] = frame["dirty"].str.lower().isin(["true", "1", "yes"])
    frame, repeated = _one_per_run_id(frame)
    chosen = set(zip(frame["run_id"], frame["mlflow_run_id"], strict=True))
    scores = pd.DataFrame(
        [
            (run.tags[Tag.RUN_ID], run.mlflow_run_id, metric, value)
            for run in runs
            if (run.tags[Tag.RUN_ID], run.mlflow_run_id) in chosen
            for metric, value in run.scores.items()
        ],
        columns=["run_id", "mlflow_run_id", "metric", "value"],
    ).sort_values(["run_id", "metric"], ignore_index=True)
    overall = scores[scores["metric"].str.fullmatch(r"final/[^/]+")].pivot(
        index="run_id", columns="metric", values="value"
    )
    merged = frame.merge(overall, how="left", left_on="run_id", right_index=True)
    return Records(runs=merged, scores=scores, warnings=(*warnings, *repeated))


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


def _row(run: RecordedRun) -> dict[str, Any]:
    fields = {
        "mlflow_run_id": run.mlflow_run_id,
        "experiment": run.experiment,
        "status": run.status,
        "start_time": run.start_ms,
        "end_time": run.end_ms,
    }
    return fields | {column: run.tags.get(PREFIX + column, "") for column in TAG_COLUMNS}
