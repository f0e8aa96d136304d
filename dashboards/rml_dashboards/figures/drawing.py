"""A filled figure as a picture: colours that colour-blind eyes can tell apart, and markers that
survive a printer."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from rml_dashboards.figures.curves import Curve, FilledFigure
from rml_dashboards.figures.style import (
    BAND_OPACITY,
    BANDS_AT_FULL_OPACITY,
    LINE_STYLES,
    MARKERS_PER_CURVE,
    PANELS_IN_A_LINE,
    framed,
    in_style,
    pictures_of,
    row_look,
)


def pictures(figure: FilledFigure) -> dict[str, bytes]:
    """The figure as `svg`, `png` and `pdf`; the same figure gives the same bytes."""
    return pictures_of(lambda: draw(figure))


def figure_of(filled: FilledFigure) -> Figure:
    """The figure for a notebook or a caller that goes on with it."""
    return in_style(lambda: draw(filled))


def draw(filled: FilledFigure) -> Figure:
    """One panel per column that has curves; legend and small print below."""
    spec = filled.spec
    panels = [
        column for column in spec.columns if any(curve.column == column for curve in filled.curves)
    ]
    figure, axes = framed(len(panels), spec.title, list(_legend(filled)))
    for panel, column in zip(axes, panels, strict=True):
        own = [curve for curve in filled.curves if curve.column == column]
        for curve in own:
            _draw_curve(panel, curve, filled)
        if len(spec.columns) > 1:
            panel.set_title(column)
        _set_axes(panel, filled)
    for panel in axes[::PANELS_IN_A_LINE]:
        panel.set_ylabel(y_label(filled))
    return figure


def y_label(filled: FilledFigure) -> str:
    """What the figure says of its vertical axis: quantity and unit."""
    spec = filled.spec
    scale = f" × {spec.scale:g}" if spec.scale != 1 else ""
    return spec.y_label or "\n".join(f"{metric.key}{scale}" for metric in spec.metrics)


def _draw_curve(panel: Axes, curve: Curve, filled: FilledFigure) -> None:
    look = _row_style(filled, curve.row)
    every = max(1, len(curve.x) // MARKERS_PER_CURVE)
    place = filled.spec.rows.index(curve.row)
    offset = (
        place * every // max(1, len(filled.spec.rows))
    )  # markers of curves that coincide do not
    line = _line_style(filled, curve)
    panel.plot(curve.x, curve.mean, linestyle=line, markevery=(offset, every), **look)
    if curve.n > 1:
        low = curve.mean - curve.std
        high = curve.mean + curve.std
        if filled.spec.log_y:  # the lower end of a band may fall below zero
            low = np.where(low > 0, low, curve.mean)
        panel.fill_between(
            curve.x, low, high, color=look["color"], alpha=_band_opacity(filled), linewidth=0
        )


def _line_style(filled: FilledFigure, curve: Curve) -> Any:
    """Of its metric; where there is one only, of its row, which a grey print needs beside the
    marker."""
    metrics = filled.spec.metrics
    place = metrics.index(curve.metric) if len(metrics) > 1 else filled.spec.rows.index(curve.row)
    return LINE_STYLES[place % len(LINE_STYLES)]


def _band_opacity(filled: FilledFigure) -> float:
    bands = Counter(curve.column for curve in filled.curves if curve.n > 1)
    return BAND_OPACITY * min(1.0, BANDS_AT_FULL_OPACITY / max(bands.values()))


def _row_style(filled: FilledFigure, row: str) -> dict[str, Any]:
    return row_look(filled.spec.rows.index(row))


def _set_axes(panel: Axes, filled: FilledFigure) -> None:
    spec = filled.spec
    panel.set_xlabel(spec.x_label)
    panel.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    panel.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    panel.margins(x=0.02)
    if spec.log_y:
        panel.set_yscale("log")
    if spec.x_range is not None:
        panel.set_xlim(*spec.x_range)
    if spec.y_range is not None:
        panel.set_ylim(*spec.y_range)


def _legend(filled: FilledFigure) -> Iterator[Artist]:
    """One entry per row that has a curve, one per metric where there are several, and what the
    bands are."""
    for row in filled.spec.rows:
        own = [curve for curve in filled.curves if curve.row == row]
        if own:
            line: Any = "-" if len(filled.spec.metrics) > 1 else _line_style(filled, own[0])
            label = f"{row} ({seeds_text(own)})"
            yield Line2D([], [], label=label, linestyle=line, **_row_style(filled, row))
    if len(filled.spec.metrics) > 1:
        for metric, line in zip(filled.spec.metrics, LINE_STYLES, strict=False):
            yield Line2D([], [], color="#555555", linestyle=line, label=metric.label)
    if any(curve.n > 1 for curve in filled.curves):
        yield Patch(color="#555555", alpha=BAND_OPACITY, linewidth=0, label="± std over seeds")


def seeds_text(curves: Sequence[Curve]) -> str:
    """`n = 3`, `n = 2 of 3`, or `n = 2 to 3 of 3` where the curves of a row differ."""
    counts = sorted({curve.n for curve in curves})
    expected = max(curve.n_expected for curve in curves)
    n = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"n = {n}" if counts == [expected] else f"n = {n} of {expected}"
