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
QUALITY_COLUMNS = ["row", "column", "metric", "n", "mean", "std"]


def pseudo_label_quality(plan: StudyPlan, reader: RecordReader) -> pd.DataFrame:
    """One line per row, column and metric, in the order of the table: row, column, metric, n, mean
    and sample standard deviation over finished runs of the last value that each has measured
    (fractions). Empty where no run has measured any.

    Raises:
        DashboardError: the records cannot be read.
    """
    run_ids = {run.run_id for run in plan.runs}
    records = reader.records(run_ids, PSEUDO_LABEL_METRICS)
    finished = set(records.runs.loc[records.runs["status"] == "FINISHED", "run_id"])
    scores = records.scores
    last = scores[scores["metric"].isin(PSEUDO_LABEL_METRICS) & scores["run_id"].isin(finished)]
    cells = pd.DataFrame(
        [(cell.row, cell.column, run.run_id) for cell, run in plan.cells],
        columns=["row", "column", "run_id"],
    )
    placed = cells.merge(last, on="run_id")
    if placed.empty:
        return pd.DataFrame(columns=QUALITY_COLUMNS)
    frame = placed.groupby(["row", "column", "metric"], sort=False)["value"].agg(
        n="size", mean="mean", std="std"
    )
    rows = {row.label: place for place, row in enumerate(plan.rows)}
    columns = {column.label: place for place, column in enumerate(plan.columns)}
    order = frame.reset_index()
    order["place"] = order["row"].map(rows) * len(columns) + order["column"].map(columns)
    order["moment"] = order["metric"].map(PSEUDO_LABEL_METRICS.index)
    return order.sort_values(["place", "moment"]).reset_index(drop=True)[QUALITY_COLUMNS]
