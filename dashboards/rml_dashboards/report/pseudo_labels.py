"""How right the pseudo labels were, in every report whose runs have measured it."""

import math

import pandas as pd

from rml_dashboards.contract.metric_names import axis_label
from rml_dashboards.report.content import StudyContent
from rml_dashboards.report.tables import html_table
from rml_dashboards.studies.pseudo_labels import AFTER, BEFORE
from rml_dashboards.writing.page import element
from rml_dashboards.writing.pipe_table import NOTHING, one_line

HEADINGS = {BEFORE: "before rectification", AFTER: "as used"}
CLASS_HEADINGS = {
    "before": "before rectification",
    "after": "as used",
    "difference": "difference",
}


def pseudo_labels_parts(content: StudyContent, prefix: str) -> list[str]:
    """A line per row and column: mean ± std over the runs at their last measurement."""
    heading = element("h3", "Pseudo labels", id=f"{prefix}labels")
    frame = content.pseudo_labels
    if frame.empty:
        return [
            heading,
            element(
                "p",
                "No run has measured how right its pseudo labels are; "
                "evaluation.monitor_pseudo_labels: true asks for it.",
            ),
        ]
    scale = content.plan.table.scale
    metrics = [metric for metric in HEADINGS if metric in set(frame["metric"])]
    named = len(content.plan.columns) > 1
    lines = []
    for (row, column), own in frame.groupby(["row", "column"], sort=False):
        place = [str(row), *([str(column)] if named else []), str(own["n"].max())]
        by_metric = own.set_index("metric")
        lines.append([*place, *(_number(by_metric, metric, scale) for metric in metrics)])
    header = [content.plan.table.row_heading, *(["column"] if named else []), "runs"]
    header += [HEADINGS[metric] for metric in metrics]
    caption = f"{axis_label(['val/miou'], scale)} of the pseudo labels on unlabelled images"
    return [
        heading,
        *html_table(caption, header, lines),
        element(
            "p",
            "Against the truth of the unlabelled images, which training does not see; mean ± "
            "sample standard deviation over finished runs, each at its last measurement. How it "
            "came to be stands among the figures.",
            class_="note",
        ),
        *_classes_parts(content),
    ]


def _classes_parts(content: StudyContent) -> list[str]:
    """Behind a fold, a table for each row and column: IoU of every class before and after."""
    frame = content.pseudo_label_classes
    if frame.empty:
        return []
    scale = content.plan.table.scale
    unit = axis_label(["val/iou"], scale)
    named = len(content.plan.columns) > 1
    parts = ["<details><summary>Pseudo labels of single classes</summary>"]
    for (row, column), own in frame.groupby(["row", "column"], sort=False):
        is_rectified = bool(own["before"].notna().any())
        shown = CLASS_HEADINGS if is_rectified else {"after": CLASS_HEADINGS["after"]}
        lines = [
            [
                str(line["class"]),
                str(line["n"]),
                *(_mean_and_spread(line[name], line[f"{name}_std"], scale) for name in shown),
            ]
            for _, line in own.iterrows()
        ]
        of_column = f", {one_line(str(column))}" if named else ""
        caption = f"{unit} of the pseudo labels of single classes: {one_line(str(row))}{of_column}"
        parts += html_table(caption, ["class", "runs", *shown.values()], lines)
    said = (
        "Each run at the last measurement in which the class occurred; a difference is taken "
        "within a run."
    )
    return [*parts, element("p", said, class_="note"), "</details>"]


def _number(by_metric: pd.DataFrame, metric: str, scale: float) -> str:
    if metric not in by_metric.index:
        return NOTHING
    mean, std = (by_metric[name].to_dict()[metric] for name in ("mean", "std"))
    return _mean_and_spread(mean, std, scale)


def _mean_and_spread(mean: float, std: float, scale: float) -> str:
    """A mean over one run has no spread (NaN)."""
    if math.isnan(mean):
        return NOTHING
    spread = "" if math.isnan(std) else f" ± {scale * std:.1f}"
    return f"{scale * mean:.1f}{spread}"
