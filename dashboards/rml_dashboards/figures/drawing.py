"""A filled figure as a picture: colours that colour-blind eyes can tell apart, and markers that
survive a printer."""

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from rml_dashboards.figures.curves import Curve, FilledFigure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito (2008) without yellow, which nobody sees on white paper."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<")
"""Nine, so that colour and marker together name 63 rows."""
LINE_STYLES: tuple[Any, ...] = ("-", "--", ":", "-.")
MARKERS_PER_CURVE = 8
BAND_OPACITY = 0.18
BANDS_AT_FULL_OPACITY = 4
"""More bands than these in one panel get fainter, so that the lines stay the first thing seen."""
PANEL_INCHES = (5.6, 3.6)
"""Width and height of one panel with its labels, without title and legend."""
TITLE_INCHES = 0.35
LEGEND_LINE_INCHES = 0.2
LEGEND_CHARACTERS_PER_INCH = 14
LEGEND_HANDLE_CHARACTERS = 9
PIXELS_PER_INCH = 200
METADATA: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "png": {}}
"""Kind of file → what makes its bytes depend on nothing but the figure."""
STYLE = {
    "font.size": 10.0,
    "axes.titlesize": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.6,
    "legend.fontsize": 9.0,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "svg.hashsalt": "rml",
}
"""Laid over matplotlib's own defaults, whatever a person's matplotlibrc says; the salt gives SVG
elements fixed ids."""


class ShownFigure(Figure):
    """A figure that a notebook shows as a picture, whichever backend is at work."""

    def _repr_png_(self) -> bytes:
        return encoded(self, "png")


def encoded(figure: Figure, kind: str) -> bytes:
    """A figure as the bytes of a file; the same figure gives the same bytes."""
    stream = io.BytesIO()
    figure.savefig(stream, format=kind, metadata=METADATA[kind])
    return stream.getvalue()


def pictures(figure: FilledFigure) -> dict[str, bytes]:
    """The figure as `svg` and `png`; the same figure gives the same bytes."""
    with style.context(STYLE, after_reset=True):
        drawn = draw(figure)
        return {kind: encoded(drawn, kind) for kind in METADATA}


def figure_of(filled: FilledFigure) -> Figure:
    """The figure for a notebook or a caller that goes on with it."""
    with style.context(STYLE, after_reset=True):
        return draw(filled)


def draw(filled: FilledFigure) -> Figure:
    """One panel per column that has curves; legend and small print below."""
    spec = filled.spec
    panels = [
        column for column in spec.columns if any(curve.column == column for curve in filled.curves)
    ]
    width = PANEL_INCHES[0] * len(panels)
    handles = list(_legend(filled))
    num_legend_columns = _num_legend_columns(handles, width)
    height = (
        PANEL_INCHES[1] + TITLE_INCHES + LEGEND_LINE_INCHES * -(-len(handles) // num_legend_columns)
    )
    figure = ShownFigure(figsize=(width, height), dpi=PIXELS_PER_INCH, layout="constrained")
    axes: Sequence[Axes] = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for panel, column in zip(axes, panels, strict=True):
        own = [curve for curve in filled.curves if curve.column == column]
        for curve in own:
            _draw_curve(panel, curve, filled)
        if len(spec.columns) > 1:
            panel.set_title(column)
        _set_axes(panel, filled)
    axes[0].set_ylabel(y_label(filled))
    figure.suptitle(spec.title, fontsize=11, wrap=True)
    figure.legend(handles=handles, loc="outside lower center", ncols=num_legend_columns)
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
    line = LINE_STYLES[filled.spec.metrics.index(curve.metric)]
    panel.plot(curve.x, curve.mean, linestyle=line, markevery=(offset, every), **look)
    if curve.n > 1:
        low = curve.mean - curve.std
        high = curve.mean + curve.std
        if filled.spec.log_y:  # the lower end of a band may fall below zero
            low = np.where(low > 0, low, curve.mean)
        panel.fill_between(
            curve.x, low, high, color=look["color"], alpha=_band_opacity(filled), linewidth=0
        )


def _band_opacity(filled: FilledFigure) -> float:
    bands = Counter(curve.column for curve in filled.curves if curve.n > 1)
    return BAND_OPACITY * min(1.0, BANDS_AT_FULL_OPACITY / max(bands.values()))


def _row_style(filled: FilledFigure, row: str) -> dict[str, Any]:
    place = filled.spec.rows.index(row)
    return {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)]}


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
            yield Line2D([], [], label=f"{row} ({seeds_text(own)})", **_row_style(filled, row))
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


def _num_legend_columns(handles: Sequence[Artist], width: float) -> int:
    """As many as fit under a figure of that width in inches; a long label takes a line of its
    own."""
    longest = max(len(str(handle.get_label())) for handle in handles) + LEGEND_HANDLE_CHARACTERS
    return max(1, min(int(width * LEGEND_CHARACTERS_PER_INCH / longest), len(handles)))
