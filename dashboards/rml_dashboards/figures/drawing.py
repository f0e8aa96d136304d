"""A chart for print: colours that colour-blind eyes can tell apart, and markers that survive a
printer."""

import functools
import textwrap
from collections.abc import Callable
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis as MatplotlibAxis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator, StrMethodFormatter

from rml_dashboards.figures.chart import Axis, Band, Chart, Key, Look, Points, Stroke, Text, Zero
from rml_dashboards.figures.style import (
    PANEL_INCHES,
    PANELS_IN_A_LINE,
    SMALL_POINTS,
    framed,
    in_style,
    pictures_of,
)

THIN = 0.8
LETTERS_PER_INCH = 12
"""Of a label along an axis, which is shorter than its panel."""
STEPS = [1, 2, 2.5, 5, 10]
"""What the distance between two ticks may begin with."""


def pictures(chart: Chart) -> dict[str, bytes]:
    """The chart as `svg`, `png` and `pdf`; the same chart gives the same bytes."""
    return pictures_of(lambda: draw(chart))


def figure_of(chart: Chart) -> Figure:
    """The chart for a notebook or a caller that goes on with it."""
    return in_style(lambda: draw(chart))


def draw(chart: Chart) -> Figure:
    """Panels side by side, legend below, in whatever style is set."""
    height = PANEL_INCHES[1] if chart.height is None else chart.height
    handles = [_handle(key) for key in chart.legend]
    figure, axes = framed(len(chart.panels), chart.title, handles, height=height)
    for place, (area, panel) in enumerate(zip(axes, chart.panels, strict=True)):
        for mark in panel.marks:
            _draw_mark(mark, area)
        area.set_title(panel.title)
        _set_axis(area, "x", panel.x)
        _set_axis(area, "y", chart.y)
        area.set_ylabel("" if place % PANELS_IN_A_LINE else _in_lines(chart.y.label, height))
    return figure


def _in_lines(label: str, height: float) -> str:
    """A label that is to be no longer than an axis of a panel so high (inches)."""
    return "\n".join(textwrap.wrap(label, int(LETTERS_PER_INCH * height)))


@functools.singledispatch
def _draw_mark(mark: object, area: Axes) -> None:
    raise TypeError(f"no mark: {mark!r}")


@_draw_mark.register
def _(mark: Points, area: Axes) -> None:
    look: dict[str, Any] = {**_look(mark.look), "alpha": mark.opacity}
    if mark.size is not None:
        look["markersize"] = mark.size
    if mark.is_stepped:
        look["drawstyle"] = "steps-post"
    if mark.x_error is not None or mark.y_error is not None:
        errors: dict[str, Any] = {"xerr": mark.x_error, "yerr": mark.y_error, "elinewidth": THIN}
        area.errorbar(mark.x, mark.y, **errors, **look)
    else:
        area.plot(mark.x, mark.y, markevery=mark.markers_at, **look)


@_draw_mark.register
def _(mark: Band, area: Axes) -> None:
    step: Any = "post" if mark.is_stepped else None
    look: dict[str, Any] = {"color": mark.colour, "alpha": mark.opacity, "linewidth": 0}
    area.fill_between(mark.x, mark.low, mark.high, step=step, **look)


@_draw_mark.register
def _(mark: Stroke, area: Axes) -> None:
    area.plot(mark.x, mark.y, color=mark.colour, linewidth=mark.width, solid_capstyle="butt")


@_draw_mark.register
def _(mark: Zero, area: Axes) -> None:
    area.axhline(0, color="black", linewidth=THIN)


@_draw_mark.register
def _(mark: Text, area: Axes) -> None:
    shift = {"left": 3, "center": 0, "right": -3}[mark.align]
    area.annotate(
        mark.text,
        (mark.x, mark.y),
        xytext=(shift, 2),
        textcoords="offset points",
        ha=mark.align,
        va="bottom",
        fontsize=SMALL_POINTS,
        annotation_clip=False,
    )


def _look(look: Look) -> dict[str, Any]:
    drawn = {"color": look.colour, "marker": look.marker or None, "linestyle": look.line}
    return drawn | ({"markerfacecolor": "white"} if look.is_open else {})


def _handle(key: Key) -> Artist:
    if key.is_band:
        return Patch(color=key.look.colour, alpha=0.18, linewidth=0, label=key.label)
    return Line2D([], [], label=key.label, **_look(key.look))


def _set_axis(area: Axes, side: str, axis: Axis) -> None:
    setters: dict[str, Callable[..., Any]] = {
        name: getattr(area, f"set_{side}{name}") for name in ("label", "scale", "lim", "margin")
    }
    own: MatplotlibAxis = area.xaxis if side == "x" else area.yaxis
    if axis.is_hidden:
        own.set_visible(False)
        area.spines["bottom" if side == "x" else "left"].set_visible(False)
    setters["label"](axis.label)
    if axis.is_log:
        setters["scale"]("log")
    if axis.ticks:
        own.set_major_locator(FixedLocator([place for place, _ in axis.ticks]))
        own.set_minor_locator(NullLocator())
        own.set_ticklabels([name for _, name in axis.ticks])
    elif axis.most_ticks is not None:
        own.set_major_locator(
            MaxNLocator(axis.most_ticks, steps=STEPS, integer=axis.counts, min_n_ticks=1)
        )
    if axis.counts:
        own.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    if axis.margin is not None:
        setters["margin"](axis.margin)
    if axis.limits is not None:
        setters["lim"](*axis.limits)
    if not axis.has_grid:
        area.grid(axis="x" if side == "x" else "y", visible=False)
