"""Small figures for tests: recorded runs whose ids follow from row, column and seed, and what they
reported."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from rml_dashboards.figures.curves import Curve, FilledFigure, build_figure
from rml_dashboards.figures.specification import CurveRun, FigureSpec, MetricSpec
from rml_dashboards.records.reader import COLUMNS, Histories
from rml_dashboards.records.records import to_records
from tests.support.recorded import recorded

TV = "train/coupling_tv"
Reports = Mapping[int, float]


def spec_of(
    *rows: str,
    columns: tuple[str, ...] = ("1/8",),
    metrics: tuple[MetricSpec, ...] = (MetricSpec(key=TV),),
    num_seeds: int = 3,
    first_step: int = 0,
    last_step: int | None = None,
    **more: Any,
) -> FigureSpec:
    """A figure whose runs are called `<row>-<column>-<seed>`."""
    runs = tuple(
        CurveRun(
            row=r,
            column=c,
            seed=s,
            run_id=f"{r}-{c}-{s}",
            first_step=first_step,
            last_step=last_step,
        )
        for r in rows
        for c in columns
        for s in range(num_seeds)
    )
    parts: dict[str, Any] = {
        "name": "f",
        "title": "F",
        "rows": rows,
        "columns": columns,
        "metrics": metrics,
        **more,
    }
    return FigureSpec(runs=runs, **parts)


def figure_of(
    spec: FigureSpec,
    reports: Mapping[str, Mapping[str, Reports]],
    statuses: Mapping[str, str] | None = None,
) -> FilledFigure:
    """Fill a figure with reports by run id, metric and step; `statuses` of runs that have not
    finished."""
    runs = [
        recorded(run_id, 0.5, status=(statuses or {}).get(run_id, "FINISHED")) for run_id in reports
    ]
    rows = [
        (run_id, metric, step, value)
        for run_id, by_metric in reports.items()
        for metric, values in by_metric.items()
        for step, value in values.items()
    ]
    values = pd.DataFrame(rows, columns=list(COLUMNS))
    keys = {run_id: frozenset(by_metric) for run_id, by_metric in reports.items()}
    return build_figure(spec, to_records(runs), Histories(values=values, keys=keys))


def only_curve(figure: FilledFigure) -> Curve:
    (curve,) = figure.curves
    return curve
