"""How right the pseudo labels of a study's runs were, where the runs have measured it."""

import pandas as pd

from rml_dashboards.contract.metric_keys import TRAIN
from rml_dashboards.contract.planned import StudyPlan
from rml_dashboards.records.reader import RecordReader

AFTER = f"{TRAIN}/pseudo_label_1_miou"
"""mIoU of the first student's pseudo labels against the truth that training does not see."""
BEFORE = f"{TRAIN}/pseudo_label_1_unrectified_miou"
"""The same before they are rectified, of methods that do so."""
PSEUDO_LABEL_METRICS = (BEFORE, AFTER)
CLASSES_AFTER = f"{TRAIN}/pseudo_label_1_iou/"
"""Begin of the keys of the IoU of single classes, of the same labels."""
CLASSES_BEFORE = f"{TRAIN}/pseudo_label_1_unrectified_iou/"
QUALITY_COLUMNS = ["row", "column", "metric", "n", "mean", "std"]
CLASS_COLUMNS = ["row", "column", "class", "n"]
CLASS_MOMENTS = ["before", "after", "difference"]
"""Each a mean, and with `_std` a sample standard deviation."""


def pseudo_label_quality(plan: StudyPlan, reader: RecordReader) -> pd.DataFrame:
    """One line per row, column and metric, in the order of the table: row, column, metric, n, mean
    and sample standard deviation over finished runs of the last value that each has measured
    (fractions). Empty where no run has measured any.

    Raises:
        DashboardError: the records cannot be read.
    """
    placed = _placed(plan, reader, PSEUDO_LABEL_METRICS)
    if placed.empty:
        return pd.DataFrame(columns=QUALITY_COLUMNS)
    frame = placed.groupby(["row", "column", "metric"], sort=False)["value"].agg(
        n="size", mean="mean", std="std"
    )
    order = frame.reset_index()
    order["place"] = _places(plan, order)
    order["moment"] = order["metric"].map(PSEUDO_LABEL_METRICS.index)
    return order.sort_values(["place", "moment"]).reset_index(drop=True)[QUALITY_COLUMNS]


def pseudo_label_classes(plan: StudyPlan, reader: RecordReader) -> pd.DataFrame:
    """One line per row, column and class, in the order of the table, classes by name: row, column,
    class, n and, over finished runs, mean and sample standard deviation (`…_std`) of IoU before
    rectification, as used (`after`), and of the difference within a run (fractions; NaN where there
    was no rectification). Empty where no run has measured any.

    A class counts in the runs where it occurred, each at the last measurement in which it did.

    Raises:
        DashboardError: the records cannot be read.
    """
    placed = _placed(plan, reader, (CLASSES_BEFORE, CLASSES_AFTER))
    if placed.empty:
        statistics = [f"{name}{end}" for name in CLASS_MOMENTS for end in ("", "_std")]
        return pd.DataFrame(columns=[*CLASS_COLUMNS, *statistics])
    is_before = placed["metric"].str.startswith(CLASSES_BEFORE)
    placed["moment"] = is_before.map({True: "before", False: "after"})
    prefix = is_before.map({True: len(CLASSES_BEFORE), False: len(CLASSES_AFTER)})
    placed["class"] = [key[n:] for key, n in zip(placed["metric"], prefix, strict=True)]
    by_run = placed.pivot_table(
        index=["row", "column", "class", "seed", "run_id"], columns="moment", values="value"
    ).reindex(columns=["before", "after"])
    by_run["difference"] = by_run["after"] - by_run["before"]
    grouped = by_run.groupby(["row", "column", "class"])
    frame = grouped.size().to_frame("n")
    for name in CLASS_MOMENTS:
        frame[name] = grouped[name].mean()
        frame[f"{name}_std"] = grouped[name].std()
    order = frame.reset_index()
    order["place"] = _places(plan, order)
    return order.sort_values(["place", "class"]).reset_index(drop=True).drop(columns="place")


def _placed(plan: StudyPlan, reader: RecordReader, metrics: tuple[str, ...]) -> pd.DataFrame:
    """Last values of the metrics, or of those that begin so where one ends in `/`, of every cell
    whose run has finished: row, column, seed, run_id, metric, value."""
    records = reader.records({run.run_id for run in plan.runs}, metrics)
    finished = set(records.runs.loc[records.runs["status"] == "FINISHED", "run_id"])
    scores = records.scores
    begins = tuple(key for key in metrics if key.endswith("/"))
    is_wanted = scores["metric"].isin(metrics) | scores["metric"].str.startswith(begins)
    last = scores[is_wanted & scores["run_id"].isin(finished)]
    cells = pd.DataFrame(
        [(cell.row, cell.column, cell.seed, run.run_id) for cell, run in plan.cells],
        columns=["row", "column", "seed", "run_id"],
    )
    return cells.merge(last[["run_id", "metric", "value"]], on="run_id")


def _places(plan: StudyPlan, frame: pd.DataFrame) -> pd.Series:
    """Where the row and column of each line stand in the table, as one number."""
    rows = {row.label: place for place, row in enumerate(plan.rows)}
    columns = {column.label: place for place, column in enumerate(plan.columns)}
    return frame["row"].map(rows) * len(columns) + frame["column"].map(columns)
