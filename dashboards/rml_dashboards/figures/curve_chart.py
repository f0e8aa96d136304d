"""A figure of curves as a chart."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from rml_dashboards.contract.metric_names import axis_label, metric_name
from rml_dashboards.figures.chart import DIM, Axis, Band, Chart, Key, Look, Mark, Panel, Points
from rml_dashboards.figures.curves import Curve, FilledFigure
from rml_dashboards.figures.specification import MetricSpec
from rml_dashboards.figures.style import (
    LINE_STYLES,
    MARKERS_PER_CURVE,
    band_opacity,
    row_look,
)


def curve_chart(filled: FilledFigure) -> Chart:
    """One panel per column that has curves."""
    spec = filled.spec
    by_column: dict[str, list[Curve]] = {}
    for curve in filled.curves:
        by_column.setdefault(curve.column, []).append(curve)
    x = Axis(label=spec.x_label, limits=spec.x_range, most_ticks=6, counts=True, margin=0.02)
    panels = tuple(
        Panel(
            marks=tuple(mark for curve in by_column[column] for mark in _marks(curve, filled)),
            x=x,
            title=column if len(spec.columns) > 1 else "",
        )
        for column in spec.columns
        if column in by_column
    )
    return Chart(
        title=spec.title,
        panels=panels,
        y=Axis(label=y_label(filled), limits=spec.y_range, is_log=spec.log_y),
        legend=tuple(_legend(filled)),
    )


def y_label(filled: FilledFigure) -> str:
    """What the figure says of its vertical axis: quantity and unit."""
    spec = filled.spec
    return spec.y_label or axis_label([metric.key for metric in spec.metrics], spec.scale)


def _marks(curve: Curve, filled: FilledFigure) -> Iterator[Mark]:
    look = _look(filled, curve.row, _line_style(filled, curve.metric))
    every = max(1, len(curve.x) // MARKERS_PER_CURVE)
    place = filled.spec.rows.index(curve.row)
    # markers of curves that coincide do not
    first = place * every // max(1, len(filled.spec.rows))
    yield Points(
        row=curve.row,
        x=curve.x,
        y=curve.mean,
        look=look,
        markers_at=(first, every),
        told=(curve.metric.label,) if curve.metric.label else (),
    )
    if curve.n > 1:
        low = curve.mean - curve.std
        if filled.spec.log_y:  # the lower end of a band may fall below zero
            low = np.where(low > 0, low, curve.mean)
        yield Band(
            row=curve.row,
            x=curve.x,
            low=low,
            high=curve.mean + curve.std,
            colour=look.colour,
            opacity=_band_opacity(filled),
        )


def _line_style(filled: FilledFigure, metric: MetricSpec) -> str | None:
    """That of a metric; None where there is one only, so that it is the row's."""
    metrics = filled.spec.metrics
    return LINE_STYLES[metrics.index(metric) % len(LINE_STYLES)] if len(metrics) > 1 else None


def _band_opacity(filled: FilledFigure) -> float:
    bands = Counter(curve.column for curve in filled.curves if curve.n > 1)
    return band_opacity(max(bands.values()))


def _look(filled: FilledFigure, row: str, line: str | None) -> Look:
    return row_look(filled.spec.rows.index(row), is_joined=True, line=line)


def _legend(filled: FilledFigure) -> Iterator[Key]:
    """One entry per row that has a curve, one per metric where there are several, and what the
    bands are."""
    for row in filled.spec.rows:
        own = [curve for curve in filled.curves if curve.row == row]
        if own:
            line = "-" if len(filled.spec.metrics) > 1 else None
            label = f"{row} ({seeds_text(own)})"
            yield Key(label=label, look=_look(filled, row, line), row=row)
    if len(filled.spec.metrics) > 1:
        for metric in filled.spec.metrics:
            look = Look(colour=DIM, line=_line_style(filled, metric) or "-")
            yield Key(label=metric.label or metric_name(metric.key), look=look)
    if any(curve.n > 1 for curve in filled.curves):
        yield Key(label="± std over seeds", look=Look(colour=DIM), is_band=True)


def seeds_text(curves: Sequence[Curve]) -> str:
    """`n = 3`, `n = 2 of 3`, or `n = 2 to 3 of 3` where the curves of a row differ."""
    counts = sorted({curve.n for curve in curves})
    expected = max(curve.n_expected for curve in curves)
    n = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"n = {n}" if counts == [expected] else f"n = {n} of {expected}"
