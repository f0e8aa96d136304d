"""Diagrams of a table: what they draw, in which size, and that a grey print tells rows apart."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from rml_dashboards.contract.planned import FigureKind
from rml_dashboards.diagrams.diagram import Material
from rml_dashboards.diagrams.kinds import DIAGRAMS
from rml_dashboards.diagrams.trends import share_text
from rml_dashboards.errors import DashboardError
from rml_dashboards.figures.chart import Points
from rml_dashboards.figures.chart import Text as Words
from rml_dashboards.figures.drawing import figure_of, pictures
from rml_dashboards.figures.style import METADATA, SMALLEST_POINTS
from rml_dashboards.tables.specification import ColumnSpec, RowSpec
from tests.support.dashboards.small_diagrams import COLUMNS, SHARES, material, score
from tests.support.dashboards.small_tables import runs_of, table_of


def drawn(kind: FigureKind) -> Figure:
    return figure_of(DIAGRAMS[kind](material()).chart)


@pytest.mark.parametrize("kind", DIAGRAMS)
def test_the_same_values_give_the_same_files(kind: FigureKind) -> None:
    first, second = (pictures(DIAGRAMS[kind](material()).chart) for _ in range(2))
    assert set(first) == set(METADATA)
    assert first == second
    assert first["pdf"].startswith(b"%PDF") and b"<svg" in first["svg"]


@pytest.mark.parametrize("kind", DIAGRAMS)
def test_text_can_be_read_at_the_width_of_a_column(kind: FigureKind) -> None:
    figure = drawn(kind)
    width = figure.get_size_inches()[0]
    assert width in (3.5, 7.0), "a column or a page, so nothing is scaled down in print"
    texts = [one for one in figure.findobj(Text) if isinstance(one, Text) and one.get_text()]
    assert texts
    assert min(float(text.get_fontsize()) for text in texts) >= SMALLEST_POINTS


@pytest.mark.parametrize("kind", ["scores", "classes", "profile", "gain", "cost"])
def test_rows_differ_in_more_than_colour(kind: FigureKind) -> None:
    figure = drawn(kind)
    lines = [line for axes in figure.axes for line in axes.get_lines()]
    by_colour: dict[str, set[object]] = {}
    for line in lines:
        shape = line.get_marker()
        if shape not in ("None", "", None):
            by_colour.setdefault(str(line.get_color()), set()).add(shape)
    rows = [shapes for colour, shapes in by_colour.items() if colour not in ("black", "#555555")]
    assert len(rows) >= 2
    assert all(len(shapes) == 1 for shapes in rows)
    assert len(set.union(*rows)) == len(rows)


def test_scores_are_the_runs() -> None:
    values = DIAGRAMS["scores"](material()).values
    found = {(line.row, line.column, line.seed): line.value for line in values.itertuples()}
    assert len(found) == 27
    assert found["RML", "1/8", 2] == pytest.approx(100 * score("RML", "1/8", 2))


def test_gains_are_paired_differences_by_share() -> None:
    values = DIAGRAMS["gain"](material()).values
    own = values[values["row"] == "RML"]
    assert own["labelled_share"].tolist() == [1 / 16, 1 / 8, 1 / 4]
    assert own["mean"].tolist() == pytest.approx([10.0] * 3)
    assert "Supervised" not in set(values["row"])


def two_metrics() -> Material:
    """Two columns of each of two metrics, with two shares of labels."""
    shares = {"1/8": 1 / 8, "1/4": 1 / 4, "1/8, accuracy": 1 / 8, "1/4, accuracy": 1 / 4}
    columns = tuple(
        ColumnSpec(label=label, metric="final/accuracy" if "accuracy" in label else None)
        for label in shares
    )
    runs = [
        run
        for place, row in enumerate(("Supervised", "RML"))
        for column in shares
        for run in runs_of(row, 0.5 + place / 10, 0.6 + place / 10, column=column)
    ]
    rows = (RowSpec(label="Supervised"), RowSpec(label="RML"))
    table = table_of(runs, rows=rows, columns=columns, num_seeds=2)
    hours = dict.fromkeys(table.values["run_id"], 2.0)
    return Material(
        table=table, title="T", labelled_share=shares, against="Supervised", hours=hours
    )


def test_gains_of_two_metrics_are_not_joined() -> None:
    made = DIAGRAMS["gain"](two_metrics())
    assert [panel.title for panel in made.chart.panels] == ["mIoU (%)", "pixel accuracy (%)"]
    lines = [
        [mark for mark in panel.marks if isinstance(mark, Points)] for panel in made.chart.panels
    ]
    assert [[mark.told for mark in of_panel] for of_panel in lines] == [
        [("1/8", "1/4")],
        [("1/8, accuracy", "1/4, accuracy")],
    ]
    assert made.chart.y.label == "gain over Supervised"


def test_a_metric_with_one_share_of_labels_has_no_trend() -> None:
    whole = two_metrics()
    some = {column: share for column, share in whole.labelled_share.items() if column != "1/4"}
    made = DIAGRAMS["gain"](replace(whole, labelled_share=some))
    assert set(made.values["column"]) == {"1/8, accuracy", "1/4, accuracy"}
    assert made.chart.y.label == "gain over Supervised\npixel accuracy (%)"


def test_cost_and_scores_name_the_metric_of_each_column() -> None:
    cost = DIAGRAMS["cost"](two_metrics()).chart
    assert cost.y.label == "score"
    assert [panel.title for panel in cost.panels] == [
        "1/8: mIoU (%)",
        "1/4: mIoU (%)",
        "1/8, accuracy: pixel accuracy (%)",
        "1/4, accuracy: pixel accuracy (%)",
    ]
    scores = DIAGRAMS["scores"](two_metrics()).chart
    assert [panel.x.label for panel in scores.panels][1:3] == ["mIoU (%)", "pixel accuracy (%)"]


def test_numbers_of_many_ranks_do_not_run_into_each_other() -> None:
    rows = [f"m{i}" for i in range(36)]
    runs = [
        run
        for place, row in enumerate(rows)
        for column in COLUMNS[:2]
        for run in runs_of(row, 0.3 + place / 100, column=column)
    ]
    columns = tuple(ColumnSpec(label=column) for column in COLUMNS[:2])
    table = table_of(runs, rows=tuple(RowSpec(label=row) for row in rows), columns=columns)
    (panel,) = DIAGRAMS["ranks"](Material(table=table, title="T")).chart.panels
    named = [mark.text for mark in panel.marks if isinstance(mark, Words) and mark.text.isdigit()]
    assert named == ["1", *(str(rank) for rank in range(5, 36, 5))]


def test_ranks_are_those_of_the_comparison() -> None:
    values = DIAGRAMS["ranks"](material()).values
    assert dict(zip(values["row"], values["mean_rank"], strict=True)) == {
        "RML": 1.0,
        "IML": 2.0,
        "Supervised": 3.0,
    }
    texts = [str(one.get_text()) for one in drawn("ranks").findobj(Text) if isinstance(one, Text)]
    assert {"RML (1.00)", "IML (2.00)", "Supervised (3.00)"} <= set(texts)


def test_the_profile_falls_from_all_to_none() -> None:
    values = DIAGRAMS["profile"](material()).values
    for _, own in values.groupby("row"):
        shares = own.sort_values("threshold")["share"].to_numpy()
        assert ((np.diff(shares) <= 0).all() and shares[-1] == 0) or own["row"].iloc[0] == "RML"


def test_diagrams_over_all_columns_name_what_they_leave_out() -> None:
    scored = {"IML": "ab", "RML": "abc", "CPS": "abc"}
    runs = [
        run
        for row, columns in scored.items()
        for column in columns
        for run in runs_of(row, 0.5, 0.6, column=column)
    ]
    rows = tuple(RowSpec(label=row) for row in scored)
    table = table_of(runs, rows=rows, columns=tuple(ColumnSpec(label=one) for one in "abc"))
    made = Material(table=table, title="T")
    assert DIAGRAMS["profile"](made).notes == ("Left out: IML (no score in c).",)
    assert DIAGRAMS["ranks"](made).notes == ("Left out: column c (no score of IML).",)
    assert DIAGRAMS["profile"](material()).notes == DIAGRAMS["ranks"](material()).notes == ()


def test_cost_is_hours_against_scores() -> None:
    values = DIAGRAMS["cost"](material()).values
    assert set(values["hours"]) == {2.0}
    assert len(values) == 9


@pytest.mark.parametrize(
    ("kind", "more", "why"),
    [
        ("classes", {"classes": ()}, "no run has recorded the IoU of a class"),
        ("gain", {"labelled_share": {"1/8": 0.125}}, "do not differ in their share"),
        ("gain", {"against": ""}, "say with `against`"),
        ("cost", {"hours": {}}, "no scored run has recorded how long"),
    ],
)
def test_what_cannot_be_drawn_says_why(kind: FigureKind, more: dict[str, Any], why: str) -> None:
    changed = material(**{key: value for key, value in more.items() if key != "classes"})
    if "classes" in more:
        changed = Material(table=changed.table, title="T")
    with pytest.raises(DashboardError, match=why):
        DIAGRAMS[kind](changed)


@pytest.mark.parametrize("kind", DIAGRAMS)
def test_nothing_recorded_is_told(kind: FigureKind) -> None:
    empty = table_of([], columns=tuple(ColumnSpec(label=column) for column in COLUMNS))
    bare = Material(table=empty, title="T", labelled_share=SHARES, against="IML")
    with pytest.raises(DashboardError):
        DIAGRAMS[kind](bare)


@pytest.mark.parametrize(
    ("share", "text"), [(0.125, "1/8"), (0.033333, "1/30"), (1.0, "all"), (0.3, "30 %")]
)
def test_shares_are_written_as_people_write_them(share: float, text: str) -> None:
    assert share_text(share) == text
