"""From an MLflow store to figure files: what is read, what is written, and how a curve is traced to
its runs."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from rml_dashboards.errors import DashboardError
from rml_dashboards.figures.curve_chart import curve_chart, seeds_text, y_label
from rml_dashboards.figures.drawing import draw, pictures
from rml_dashboards.figures.publish import drawn_curves, index, write_figures
from rml_dashboards.figures.specification import MetricSpec
from rml_dashboards.figures.style import COLOURS, encoded, in_style, row_look
from rml_dashboards.figures.web.interactive import interactive
from rml_dashboards.records.mlflow_reader import MlflowReader
from tests.support.dashboards.small_figures import TV, figure_of, only_curve, spec_of
from tests.support.recorded import NOON, Store

LOGGED = {0: {10: 0.5, 20: 0.25, 30: 0.125}, 1: {10: 0.3, 20: 0.2, 30: 0.1}}


def reader_of(store: Store) -> MlflowReader:
    return MlflowReader(store.uri, store.file.parent / "ledger")


@pytest.fixture
def filled(store: Store) -> Store:
    """Two seeds of one row with three reports each."""
    for seed, values in LOGGED.items():
        store.report(store.add(f"RML-1/8-{seed}", 0.6), TV, values)
    return store


def test_the_csv_holds_exactly_what_was_logged(filled: Store, tmp_path: Path) -> None:
    spec = spec_of("RML", scale=100, smoothing=3)
    paths = write_figures([spec], reader_of(filled), tmp_path / "out")
    assert [path.name for path in paths] == ["f.svg", "f.png", "f.pdf", "f.csv", "figures.md"]
    table = pd.read_csv(tmp_path / "out" / "f.csv")
    for seed, values in LOGGED.items():
        own = table[table["seed"] == seed]
        assert dict(zip(own["step"], own["value"], strict=True)) == values
        assert set(own["run_id"]) == {f"RML-1/8-{seed}"}
        recorded = filled.client.get_run(own["mlflow_run_id"].iloc[0])
        assert recorded.data.tags["rml.run_id"] == f"RML-1/8-{seed}"
    assert len(table) == 6
    assert set(table["figure"]) == {"f"}
    assert set(table["metric"]) == {TV}


def test_the_pictures_open_and_show_something(filled: Store, tmp_path: Path) -> None:
    write_figures([spec_of("RML")], reader_of(filled), tmp_path)
    picture = np.asarray(Image.open(tmp_path / "f.png").convert("RGB"))
    assert min(picture.shape[:2]) > 400
    blue = np.array([int(COLOURS[0][i : i + 2], 16) for i in (1, 3, 5)])
    assert (np.abs(picture.astype(int) - blue).sum(-1) < 10).sum() > 300, (
        "the first row's curve is in its colour"
    )
    svg = (tmp_path / "f.svg").read_text()
    assert svg.startswith("<?xml")
    assert "<path" in svg


def test_the_index_names_every_run_and_what_lacks(filled: Store, tmp_path: Path) -> None:
    filled.add("IML-1/8-0", status="FAILED")
    paths = write_figures(
        [spec_of("RML", "IML", caption="What it shows.")],
        reader_of(filled),
        tmp_path,
        index_name="mine",
    )
    text = paths[-1].read_text()
    assert paths[-1].name == "mine.md"
    for part in (
        "![F](f.png)",
        "[SVG](f.svg)",
        "(f.csv)",
        "What it shows.",
        "RML n = 2 of 3",
        "seed 2 missing",
    ):
        assert part in text
    assert "IML: 0 of 3 runs: seed 0 failed, seeds 1, 2 missing." in text
    for run in filled.client.search_runs([filled.experiment()]):
        assert f"| {run.data.tags['rml.run_id']} " in text
        assert run.info.run_id in text


def test_the_same_figure_is_the_same_bytes() -> None:
    figure = figure_of(
        spec_of("RML", num_seeds=2), {f"RML-1/8-{seed}": {TV: v} for seed, v in LOGGED.items()}
    )
    chart = curve_chart(figure)
    assert pictures(chart) == pictures(chart)


@pytest.mark.parametrize("kind", ["svg", "pdf", "png"])
def test_a_figure_is_the_same_bytes_when_it_is_written_elsewhere_than_drawn(kind: str) -> None:
    def figure() -> Figure:
        drawn = Figure()
        drawn.add_subplot().plot([0, 1], [0, 1])
        return drawn

    assert encoded(in_style(figure), kind) == encoded(in_style(figure), kind)


def test_a_value_reported_twice_counts_once_and_infinite_ones_not_at_all(store: Store) -> None:
    run = store.add("RML-1/8-0", 0.6)
    store.report(run, TV, {10: 0.5, 20: float("nan"), 30: float("inf")})
    store.client.log_metric(run, TV, 0.75, timestamp=NOON + 99_999, step=10)
    histories = reader_of(store).histories(["RML-1/8-0"], {TV, "train/absent"})
    assert histories.values.to_dict("records") == [
        {"run_id": "RML-1/8-0", "metric": TV, "step": 10, "value": 0.75}
    ]
    assert histories.keys == {"RML-1/8-0": {"train/loss", "final/miou", "final/accuracy", TV}}


def test_nothing_to_draw_and_no_store_are_errors_that_say_what_to_do(
    store: Store, tmp_path: Path
) -> None:
    store.client.search_experiments()
    with pytest.raises(
        DashboardError, match="nothing to draw yet for f: no run has reported anything"
    ):
        write_figures([spec_of("RML")], reader_of(store), tmp_path)
    with pytest.raises(DashboardError, match="there is no SQLite file"):
        MlflowReader(f"sqlite:///{tmp_path / 'absent.db'}", tmp_path).histories([], {TV})
    assert not list(tmp_path.glob("f.*"))


def test_a_figure_without_reports_does_not_keep_the_others_from_being_drawn(
    filled: Store, tmp_path: Path
) -> None:
    paths = write_figures(
        [spec_of("IML", name="later"), spec_of("RML")], reader_of(filled), tmp_path
    )
    assert {path.name for path in paths} == {"f.svg", "f.png", "f.pdf", "f.csv", "figures.md"}
    assert "## later: F\n\nNothing to draw yet." in paths[-1].read_text()


def test_panels_colours_line_styles_and_bands() -> None:
    metrics = (MetricSpec(key="train/a", label="after"), MetricSpec(key="train/b", label="before"))
    both = {"train/a": {1: 0.5, 2: 0.6}, "train/b": {1: 0.25, 2: 0.3}}
    spec = spec_of(
        "IML",
        "RML",
        columns=("1/8", "1/4"),
        metrics=metrics,
        num_seeds=2,
        y_range=(0, 1),
        scale=100,
    )
    present = {run.run_id: both for run in spec.runs if run.run_id != "RML-1/4-1"}
    figure = figure_of(spec, present)
    drawn = draw(curve_chart(figure))
    assert [panel.get_title() for panel in drawn.axes] == ["1/8", "1/4"]
    left, right = drawn.axes
    assert {line.get_color() for line in left.lines} == set(COLOURS[:2])
    assert {line.get_linestyle() for line in left.lines} == {"-", "--"}
    assert (len(left.collections), len(right.collections)) == (4, 2), "a single seed has no band"
    assert left.get_ylim() == (0, 1)
    labels = [text.get_text() for text in drawn.legends[0].get_texts()]
    assert labels == ["IML (n = 2)", "RML (n = 1 to 2 of 2)", "after", "before", "± std over seeds"]
    assert y_label(figure) == "a × 100\nb × 100"
    assert "1/8" in index([drawn_curves(figure)])


def test_a_logarithmic_axis_keeps_bands_above_zero() -> None:
    reports = {"RML-1/8-0": {TV: {1: 0.9, 2: 0.5}}, "RML-1/8-1": {TV: {1: 0.01, 2: 0.5}}}
    figure = figure_of(spec_of("RML", num_seeds=2, log_y=True), reports)
    (panel,) = draw(curve_chart(figure)).axes
    (band,) = panel.collections
    assert panel.get_yscale() == "log"
    assert (np.asarray(band.get_paths()[0].vertices, dtype=float)[:, 1] > 0).all()
    assert seeds_text([only_curve(figure)]) == "n = 2"
    assert Image.open(io.BytesIO(pictures(curve_chart(figure))["png"])).size[0] > 500


def test_up_to_28_rows_are_told_apart_in_colour_and_36_in_grey() -> None:
    lines = [row_look(place, is_joined=True) for place in range(36)]
    assert len({(look.colour, look.line) for look in lines[:28]}) == 28
    assert len({(look.line, look.marker) for look in lines}) == 36
    points = [row_look(place, is_joined=False) for place in range(36)]
    assert len({(look.colour, look.marker) for look in points}) == 36
    assert not any(look.line for look in points)
    alike: dict[tuple[str, bool], list[float]] = {}
    for look in points:
        alike.setdefault((look.marker, look.is_open), []).append(lightness(look.colour))
    gaps = [abs(one - other) for one, other in alike.values()]
    assert len(gaps) == 18 and min(gaps) > 0.08


def lightness(colour: str) -> float:
    """Of a colour on a grey printer, 0 to 1 (ITU-R BT.601)."""
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return 0.299 * red + 0.587 * green + 0.114 * blue


@pytest.mark.parametrize("last", [2, 4, 30, 12_000])
def test_an_axis_of_steps_has_whole_steps(last: int) -> None:
    reports = {"RML-1/8-0": {TV: {0: 0.9, last: 0.5}}}
    chart = curve_chart(figure_of(spec_of("RML", num_seeds=1), reports))
    (panel,) = draw(chart).axes
    ticks = panel.get_xticks()
    assert len(ticks) >= 2 and (ticks == np.round(ticks)).all()
    in_browser = interactive(chart)["layout"]["xaxis"]
    assert in_browser.get("dtick") == (1 if last <= 6 else None)


def test_axes_and_legends_call_metrics_as_people_do() -> None:
    metrics = (MetricSpec(key="val/miou"), MetricSpec(key="val/student_2/miou", label="student"))
    both = {metric.key: {1: 0.5, 2: 0.6} for metric in metrics}
    figure = figure_of(spec_of("RML", num_seeds=1, metrics=metrics, scale=100), {"RML-1/8-0": both})
    drawn = draw(curve_chart(figure))
    assert drawn.axes[0].get_ylabel() == "mIoU (%)"
    labels = [text.get_text() for text in drawn.legends[0].get_texts()]
    assert labels == ["RML (n = 1)", "mIoU", "student"]


def test_a_label_is_no_longer_than_its_axis() -> None:
    said = "total variation distance of the two networks that label the images"
    spec = replace(spec_of("RML", num_seeds=1), y_label=said)
    figure = draw(curve_chart(figure_of(spec, {"RML-1/8-0": {TV: {0: 0.9, 10: 0.5}}})))
    figure.draw_without_rendering()
    (area,) = figure.axes
    assert area.get_ylabel().replace("\n", " ") == said
    drawn = area.yaxis.label.get_window_extent()
    axis = area.get_window_extent()
    assert drawn.height < 1.1 * axis.height
