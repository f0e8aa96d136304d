"""How right the pseudo labels of single classes were, in the report and from Python."""

import math
from pathlib import Path

import pytest

import rml_dashboards as rd
from rml_dashboards.contract.metric_names import axis_label
from rml_dashboards.report.content import read_content
from rml_dashboards.report.publish import report
from rml_dashboards.tables.html import run_links
from tests.support.dashboards.html_pages import MARKUP, Read
from tests.support.dashboards.recorded_study import RecordedStudy, measure
from tests.unit.dashboards.report.test_report import NOW, lines_under

AFTER = "train/pseudo_label_1_iou/"
BEFORE = "train/pseudo_label_1_unrectified_iou/"


def page_of(made: RecordedStudy) -> tuple[str, Read]:
    study = rd.study("own", out=made.out, tracking_uri="none")
    content = read_content(
        study.plan,
        study._reader,
        storage=str(made.out),
        link=run_links("none"),
        against=None,
        price=None,
    )
    text = report([content], NOW)
    return text, Read(text)


@pytest.fixture
def made(tmp_path: Path) -> RecordedStudy:
    """RML rectifies; the labels of the other row are used as they are. Of RML's first run the class
    `pole` was never seen, and `a/b`, a name with a slash, lost half of what it had."""
    made = RecordedStudy.make(tmp_path)
    measure(
        made.out,
        made.run_id("RML", 0),
        {
            "train/pseudo_label_1_miou": {8: 0.5},
            f"{BEFORE}sky": {4: 0.1, 8: 0.5},
            f"{AFTER}sky": {4: 0.9, 8: 0.6},
            f"{BEFORE}a/b": {8: 0.4},
            f"{AFTER}a/b": {8: 0.2},
        },
    )
    measure(
        made.out,
        made.run_id("RML", 1),
        {
            f"{BEFORE}sky": {8: 0.6},
            f"{AFTER}sky": {8: 0.9},
            f"{BEFORE}pole": {8: 0.2},
            f"{AFTER}pole": {8: 0.3},
        },
    )
    measure(made.out, made.run_id("Supervised", 0), {f"{AFTER}sky": {8: 0.7}})
    return made


def test_a_study_tells_them_before_after_and_the_difference(made: RecordedStudy) -> None:
    found = rd.study("own", out=made.out, tracking_uri="none").pseudo_label_classes()
    assert list(zip(found["row"], found["class"], found["n"], strict=True)) == [
        ("Supervised", "sky", 1),
        ("RML", "a/b", 1),
        ("RML", "pole", 1),
        ("RML", "sky", 2),
    ]
    sky = found.iloc[3]
    assert sky["before"] == pytest.approx(0.55) and sky["after"] == pytest.approx(0.75)
    assert sky["difference"] == pytest.approx(0.2)
    assert sky["difference_std"] == pytest.approx(math.sqrt(2) * 0.1), "of differences within runs"
    unrectified = found.iloc[0]
    assert math.isnan(unrectified["before"]) and math.isnan(unrectified["difference"])


def test_the_report_has_a_table_of_them_for_each_row(made: RecordedStudy) -> None:
    _, found = page_of(made)
    title = f"{axis_label(['val/iou'], 100)} of the pseudo labels of single classes"
    assert lines_under(found, f"{title}: RML") == {
        "a/b": ["1", "40.0", "20.0", "-20.0"],
        "pole": ["1", "20.0", "30.0", "10.0"],
        "sky": ["2", "55.0 ± 7.1", "75.0 ± 21.2", "20.0 ± 14.1"],
    }
    assert lines_under(found, f"{title}: Supervised") == {"sky": ["1", "70.0"]}


def test_records_without_them_have_an_empty_frame_and_no_table(tmp_path: Path) -> None:
    made = RecordedStudy.make(tmp_path)
    measure(made.out, made.run_id("RML", 0), {"train/pseudo_label_1_miou": {8: 0.5}})
    empty = rd.study("own", out=made.out, tracking_uri="none").pseudo_label_classes()
    assert empty.empty and "difference_std" in empty.columns
    assert "single classes" not in page_of(made)[0]


@pytest.mark.parametrize("name", MARKUP)
def test_the_name_of_a_class_is_nothing_but_text(name: str, tmp_path: Path) -> None:
    made = RecordedStudy.make(tmp_path)
    key = f"{AFTER}{name}"
    measure(made.out, made.run_id("RML", 0), {"train/pseudo_label_1_miou": {8: 0.5}, key: {8: 0.5}})
    text, found = page_of(made)
    assert not found.open and len(text.split("<script>")) == 2
    assert name.strip() in found.texts("th", scope="row")
