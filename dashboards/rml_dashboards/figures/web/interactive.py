"""A chart for a browser: what plotly's JavaScript draws, which shows values under the pointer and
takes a closer look at a part."""

import functools
import html
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

from rml_dashboards.figures.chart import (
    DIM,
    INK,
    Axis,
    Band,
    Chart,
    Key,
    Look,
    Panel,
    Points,
    Stroke,
    Text,
    Values,
    Zero,
)
from rml_dashboards.figures.style import BAND_OPACITY, PANEL_INCHES, PANELS_IN_A_LINE

Plot = dict[str, Any]
"""`data` and `layout`, as plotly.js takes them."""
INK_HERE = "#1b1f24"
DIM_HERE = "#57606a"
GRID_HERE = "#d0d7de"
"""Colours of a page in light; `figures.js` puts those of the page in their place."""
SYMBOLS = {
    "o": "circle",
    "s": "square",
    "^": "triangle-up",
    "D": "diamond",
    "v": "triangle-down",
    "P": "cross",
    "X": "x",
    "*": "star",
    "<": "triangle-left",
}
DASHES = {"-": "solid", "--": "dash", ":": "dot", "-.": "dashdot"}
PIXELS_PER_INCH = 130
MARKER_PX = 7
LEGEND_LINE_PX = 22
BETWEEN_LINES_PX = 90
"""Room between two lines of panels, for the labels of one and the titles of the next."""
TOP_PX = 40
BOTTOM_PX = 60
GAP = 0.06
"""Room between two panels, as a share of the width."""
DIGITS = 6
"""Significant digits of a drawn number; more cannot be seen and take room."""


def interactive(chart: Chart) -> Plot:
    """The chart as data and layout."""
    data = [
        _named(trace, place)
        for place, panel in enumerate(chart.panels)
        for mark in panel.marks
        for trace in _traces(mark)
    ]
    keys = [_key(key) for key in chart.legend]
    return {"data": [*keys, *data], "layout": _layout(chart)}


def as_json(plot: Plot) -> str:
    """A plot as text that may stand in a script element: nothing in it ends the element."""
    text = json.dumps(plot, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


def _named(trace: Plot, place: int) -> Plot:
    """A trace with the axes of its panel; all panels share a y axis where they stand in a line."""
    number = "" if place == 0 else str(place + 1)
    return {"showlegend": False, **trace, "xaxis": f"x{number}", "yaxis": f"y{number}"}


@functools.singledispatch
def _traces(mark: object) -> Iterator[Plot]:
    raise TypeError(f"no mark: {mark!r}")


@_traces.register
def _(mark: Points) -> Iterator[Plot]:
    trace = {
        "type": "scatter",
        "name": _plain(mark.row),
        "legendgroup": _plain(mark.row),
        "x": _numbers(mark.x),
        "y": _numbers(mark.y),
        "opacity": mark.opacity,
        **_look(mark.look, mark.size),
    }
    if mark.look.line and mark.look.marker:
        first, every = mark.markers_at
        sizes = [0] * len(mark.x)
        sizes[first::every] = [MARKER_PX] * len(sizes[first::every])
        trace["marker"] = {**trace["marker"], "size": sizes}
    if mark.is_stepped:
        trace["line"] = {**trace["line"], "shape": "hv"}
    for name, error in (("error_x", mark.x_error), ("error_y", mark.y_error)):
        if error is not None:
            bars = {"type": "data", "array": _numbers(error), "thickness": 1, "width": 0}
            trace[name] = {**bars, "color": mark.look.colour}
    if len(mark.told) == len(mark.x):
        trace["text"] = [_plain(text) for text in mark.told]
        trace["hovertemplate"] = "%{text}: %{x}, %{y}<extra>%{fullData.name}</extra>"
    elif mark.told:
        trace["name"] = _plain(f"{mark.row}, {mark.told[0]}")
    yield trace


@_traces.register
def _(mark: Band) -> Iterator[Plot]:
    edge = {
        "type": "scatter",
        "mode": "lines",
        "legendgroup": _plain(mark.row),
        "x": _numbers(mark.x),
        "line": {"width": 0, "shape": "hv" if mark.is_stepped else "linear"},
        "hoverinfo": "skip",
    }
    yield {**edge, "y": _numbers(mark.low)}
    area = {"fill": "tonexty", "fillcolor": _see_through(mark.colour, mark.opacity)}
    yield {**edge, "y": _numbers(mark.high), **area}


@_traces.register
def _(mark: Stroke) -> Iterator[Plot]:
    yield {
        "type": "scatter",
        "mode": "lines",
        "x": _numbers(mark.x),
        "y": _numbers(mark.y),
        "line": {"color": _colour(mark.colour), "width": max(1.0, 1.3 * mark.width)},
        "hoverinfo": "skip",
    }


@_traces.register
def _(mark: Zero) -> Iterator[Plot]:
    return iter(())  # the axis draws it, across whatever part is looked at


@_traces.register
def _(mark: Text) -> Iterator[Plot]:
    side = {"left": "top right", "center": "top center", "right": "top left"}[mark.align]
    yield {
        "type": "scatter",
        "mode": "text",
        "x": [mark.x],
        "y": [mark.y],
        "text": [_plain(mark.text)],
        "textposition": side,
        "hoverinfo": "skip",
    }


def _key(key: Key) -> Plot:
    """An entry of the legend: a trace without points, which shows and hides its row."""
    trace = {
        "type": "scatter",
        "name": _plain(key.label),
        "legendgroup": _plain(key.row or key.label),
        "x": [None],
        "y": [None],
        "showlegend": True,
        **_look(key.look, None),
    }
    if key.is_band:
        colour = _see_through(key.look.colour, BAND_OPACITY)
        trace |= {"mode": "markers", "marker": {"color": colour, "symbol": "square", "size": 12}}
    return trace


def _look(look: Look, size: float | None) -> Plot:
    parts = [part for part, there in (("lines", look.line), ("markers", look.marker)) if there]
    own: Plot = {"mode": "+".join(parts) or "lines"}
    if look.marker:
        px = MARKER_PX if size is None else round(1.8 * size, 1)
        symbol = SYMBOLS[look.marker] + ("-open" if look.is_open else "")
        edge = {"width": 1.5 if look.is_open else 0}
        own["marker"] = {
            "color": _colour(look.colour),
            "symbol": symbol,
            "size": px,
            "line": edge,
        }
    if look.line:
        own["line"] = {"color": _colour(look.colour), "dash": DASHES[look.line], "width": 2}
    return own


def across(chart: Chart) -> int:
    """Panels in a line."""
    return min(len(chart.panels), PANELS_IN_A_LINE)


def _layout(chart: Chart) -> Plot:
    down = -(-len(chart.panels) // across(chart))
    inches = PANEL_INCHES[1] if chart.height is None else chart.height
    panel_px = PIXELS_PER_INCH * inches - BOTTOM_PX
    plot_px = down * panel_px + (down - 1) * BETWEEN_LINES_PX
    legend_px = LEGEND_LINE_PX * (1 + sum(len(key.label) + 8 for key in chart.legend) // 60)
    bottom_px = BOTTOM_PX + (legend_px if chart.legend else 0)
    layout: Plot = {
        "font": {"color": INK_HERE, "size": 13},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "height": round(TOP_PX + plot_px + bottom_px),
        "margin": {"l": 10, "r": 15, "t": TOP_PX, "b": bottom_px},
        "hovermode": "closest",
        "showlegend": bool(chart.legend),
        "legend": {"orientation": "h", "x": 0, "y": -BOTTOM_PX / plot_px, "yanchor": "top"},
        "annotations": [],
    }
    for place, panel in enumerate(chart.panels):
        _add_panel(layout, chart, panel, place, (panel_px / plot_px, BETWEEN_LINES_PX / plot_px))
    return layout


def _add_panel(
    layout: Plot, chart: Chart, panel: Panel, place: int, shares: tuple[float, float]
) -> None:
    """The axes and the heading of a panel; `shares` of the height are a panel's and a gap's."""
    number = "" if place == 0 else str(place + 1)
    width = (1 - (across(chart) - 1) * GAP) / across(chart)
    left = (place % across(chart)) * (width + GAP)
    top = 1 - (place // across(chart)) * sum(shares)
    x = _axis(panel.x, panel.marks) | {"anchor": f"y{number}"}
    y = _axis(chart.y, panel.marks) | {"anchor": f"x{number}"}
    if place:
        y["matches"] = "y"
    if place % across(chart):
        y |= {"title": {"text": ""}, "showticklabels": False}
    layout[f"xaxis{number}"] = x | {"domain": _ends(left, left + width)}
    layout[f"yaxis{number}"] = y | {"domain": _ends(top - shares[0], top)}
    if panel.title:
        layout["annotations"].append(_heading(panel.title, left + width / 2, top))


def _heading(text: str, x: float, y: float) -> Plot:
    where = {"xref": "paper", "yref": "paper", "x": x, "y": y, "yanchor": "bottom"}
    return {"text": _plain(text), "showarrow": False, "font": {"size": 14}, **where}


def _axis(axis: Axis, marks: Sequence[object]) -> Plot:
    own: Plot = {
        "title": {
            "text": "<br>".join(_plain(line) for line in axis.label.split("\n")),
            "standoff": 8,
        },
        "automargin": True,
        "gridcolor": GRID_HERE,
        "linecolor": DIM_HERE,
        "showgrid": axis.has_grid,
        "zeroline": any(isinstance(mark, Zero) for mark in marks),
        "zerolinecolor": INK_HERE,
        "visible": not axis.is_hidden,
    }
    if axis.is_log:
        own["type"] = "log"
    if axis.limits is not None:
        own["range"] = [math.log10(end) if axis.is_log else end for end in axis.limits]
    if axis.ticks:
        own["tickvals"] = _numbers([place for place, _ in axis.ticks])
        own["ticktext"] = [_plain(name) for _, name in axis.ticks]
    elif axis.most_ticks is not None:
        own["nticks"] = axis.most_ticks
        if axis.counts and _span(axis, marks) <= axis.most_ticks:
            own["dtick"] = 1
    if axis.counts:
        own["tickformat"] = ",d"
    return own


def _span(axis: Axis, marks: Sequence[object]) -> float:
    """How far the numbers on a horizontal axis lie apart."""
    ends = list(axis.limits or ())
    ends += [
        x for mark in marks if isinstance(mark, Points) for x in _numbers(mark.x) if x is not None
    ]
    return max(ends, default=0.0) - min(ends, default=0.0)


def _ends(low: float, high: float) -> list[float]:
    return [round(max(0.0, low), 6), round(min(1.0, high), 6)]


def _numbers(values: Values | Sequence[float]) -> list[float | None]:
    """Numbers as JSON has them, short; nothing where there is none."""
    return [float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None for value in values]


def _plain(text: str) -> str:
    """A text that plotly shows as it is: it takes some HTML for formatting."""
    return html.escape(text, quote=False)


def _colour(colour: str) -> str:
    return {INK: INK_HERE, "#000000": INK_HERE, DIM: DIM_HERE}.get(colour, colour)


def _see_through(colour: str, opacity: float) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity:.3g})"
