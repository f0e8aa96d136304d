"""One chart, two that draw it: the figure for a browser has the values of the figure for print, and
takes names as nothing but text."""

import functools
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from rml_dashboards.contract.planned import FigureKind
from rml_dashboards.diagrams.kinds import DIAGRAMS
from rml_dashboards.figures.chart import Chart
from rml_dashboards.figures.curve_chart import curve_chart
from rml_dashboards.figures.drawing import figure_of as printed
from rml_dashboards.figures.specification import MetricSpec
from rml_dashboards.figures.web.interactive import DIGITS, as_json, interactive
from tests.support.dashboards.html_pages import MARKUP
from tests.support.dashboards.small_diagrams import material
from tests.support.dashboards.small_figures import figure_of, spec_of

Point = tuple[float, float]


def curves(*rows: str, **more: Any) -> Chart:
    metrics = (MetricSpec(key="train/a", label="after"), MetricSpec(key="train/b", label="before"))
    spec = spec_of(*rows, columns=("1/8", "1/4", "1/2"), metrics=metrics, num_seeds=2, **more)
    values = {
        run.run_id: {
            metric.key: {step: (1 + place + seed / 3) / step for step in (1, 2, 5, 9)}
            for place, metric in enumerate(metrics)
        }
        for seed, run in enumerate(spec.runs)
    }
    return curve_chart(figure_of(spec, values))


def diagram(kind: FigureKind) -> Chart:
    return DIAGRAMS[kind](material()).chart


CHARTS: dict[str, Callable[[], Chart]] = {
    "curves": lambda: curves("IML", "RML", scale=100),
    "curves, logarithmic": lambda: curves("IML", "RML", log_y=True, y_range=(0.1, 10)),
    **{kind: functools.partial(diagram, kind) for kind in DIAGRAMS},
}


def shortened(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def in_print(chart: Chart) -> list[list[Point]]:
    """By panel, every point of a line or of markers."""
    return [
        sorted(
            (shortened(x), shortened(y))
            for line in area.get_lines()
            if line.get_transform() == area.transData
            for x, y in np.asarray(line.get_xydata(), dtype=float)
        )
        for area in printed(chart).axes
    ]


def in_browser(chart: Chart) -> list[list[Point]]:
    panels: list[list[Point]] = [[] for _ in chart.panels]
    for trace in interactive(chart)["data"]:
        is_band = trace.get("line", {}).get("width") == 0
        if "xaxis" in trace and trace["mode"] != "text" and not is_band:
            place = int(trace["xaxis"].removeprefix("x") or 1) - 1
            panels[place] += zip(trace["x"], trace["y"], strict=True)
    return [sorted(points) for points in panels]


@pytest.mark.parametrize("name", CHARTS)
def test_both_draw_the_same_values(name: str) -> None:
    chart = CHARTS[name]()
    ours = in_browser(chart)
    theirs = in_print(chart)
    assert all(ours) and ours == theirs


@pytest.mark.parametrize("name", CHARTS)
def test_plotly_knows_everything_that_it_is_given(name: str) -> None:
    figure = go.Figure(json.loads(as_json(interactive(CHARTS[name]()))))
    axes = [key for key in figure.layout.to_plotly_json() if key.startswith("xaxis")]
    assert len(axes) == len(CHARTS[name]().panels)


def test_bands_and_errors_reach_as_far_as_in_print() -> None:
    chart = curves("RML")
    edges_drawn = [t for t in interactive(chart)["data"] if t.get("line", {}).get("width") == 0]
    low = edges_drawn[0]
    high = edges_drawn[1]
    (area,) = printed(chart).axes[0].collections[:1]
    edges = np.asarray(area.get_paths()[0].vertices, dtype=float)[:, 1]
    assert (min(low["y"]), max(high["y"])) == pytest.approx((edges.min(), edges.max()), rel=1e-5)


def test_a_row_is_shown_and_hidden_as_one() -> None:
    traces = interactive(curves("IML", "RML"))["data"]
    groups = {trace["legendgroup"] for trace in traces if "xaxis" in trace}
    keys = {trace["legendgroup"] for trace in traces if trace["showlegend"]}
    assert groups == {"IML", "RML"} and groups < keys


def named(name: str) -> Iterator[str]:
    plot = interactive(curves(name, title=name, y_label=name))
    for trace in plot["data"]:
        yield from (trace[key] for key in ("name", "legendgroup") if key in trace)
    yield plot["layout"]["yaxis"]["title"]["text"]


@pytest.mark.parametrize("name", MARKUP)
def test_names_are_nothing_but_text(name: str) -> None:
    assert not any("<" in text.replace("<br>", "") for text in named(name))
    text = as_json(interactive(curves(name)))
    assert "<" not in text and json.loads(text)
