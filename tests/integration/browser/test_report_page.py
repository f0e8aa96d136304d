"""The report in a browser, from disk: its figures come alive in both themes, without a complaint,
and without a script nothing is lost."""

import re
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import Browser, expect

import rml_dashboards as rd
from rml_dashboards.report.content import read_content
from rml_dashboards.report.publish import write_report
from rml_dashboards.tables.html import run_links
from tests.integration.browser.conftest import PATIENCE_MS, OpenPage, barriers
from tests.support.dashboards.recorded_study import RecordedStudy
from tests.support.platform.plan_on_disk import OWN_IMAGES

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("report")
    text = OWN_IMAGES.replace("figures:\n  - {name: loss, metric: train/loss}\n", "")
    there = RecordedStudy.make(folder, text=text, more={"iou__a": 0.4, "iou__b": 0.6})
    return written(there, folder)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A hundred rows in three columns, of which two runs are done."""
    folder = tmp_path_factory.mktemp("large")
    study = yaml.safe_load(OWN_IMAGES)
    study["rows"] = [
        {"label": f"row {i}", "set": {"optimiser.lr": 0.001 + i * 1e-5}} for i in range(100)
    ]
    study["columns"] = [
        {"label": f"column {j}", "set": {"optimiser.momentum": j / 20}} for j in range(3)
    ]
    study |= {"seeds": [0], "figures": []}
    scores = {("row 7", 0): 0.5, ("row 99", 0): 0.6}
    return written(RecordedStudy.make(folder, study=study, scores=scores), folder)


def written(there: RecordedStudy, folder: Path, *, is_light: bool = False) -> str:
    study = rd.study("own", out=there.out, tracking_uri="none")
    content = read_content(
        study.plan,
        study._reader,
        storage=str(there.out),
        link=run_links("none"),
        against=None,
        price=None,
        is_light=is_light,
    )
    return write_report([content], folder / "report.html").as_uri()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_every_figure_comes_alive(report: str, open_page: OpenPage, theme: str, width: int) -> None:
    page = open_page(report, theme=theme, width=width)
    figures = page.locator("figure.figure")
    assert figures.count() == 5
    for figure in figures.all():
        figure.scroll_into_view_if_needed()
        expect(figure).to_have_class(re.compile("drawn"))
        expect(figure.locator("svg.main-svg").first).to_be_visible()
        expect(figure.locator("img")).to_be_hidden()
    ink = {"light": "rgb(27, 31, 36)", "dark": "rgb(230, 237, 243)"}[theme]
    title = figures.first.locator(".xtitle").first
    assert title.evaluate("node => getComputedStyle(node).fill") == ink
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_legend_hides_a_row(report: str, open_page: OpenPage) -> None:
    figure = open_page(report).locator("figure.figure").first
    figure.scroll_into_view_if_needed()
    lines = figure.locator(".scatterlayer .trace .lines path")
    expect(lines).to_have_count(6)  # of each row its curve and the two edges of its band
    figure.locator(".legendtoggle").first.click()
    expect(lines).to_have_count(3)


def test_a_light_report_opens_without_a_complaint(open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page(written(RecordedStudy.make(tmp_path), tmp_path, is_light=True), width=390)
    pictures = page.locator("#s1-figures ~ .figures img")
    expect(pictures.first).to_be_visible()
    assert pictures.first.evaluate("one => one.complete && one.naturalWidth > 0")
    page.get_by_label("Row", exact=True).select_option("RML")
    expect(page.locator(".count")).to_have_text("2 of 4 runs")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_runs_are_filtered_by_keyboard_alone(large: str, open_page: OpenPage) -> None:
    page = open_page(large)
    count = page.locator(".count")
    expect(count).to_have_text("300 runs")
    page.keyboard.press("Tab")
    page.get_by_label("State", exact=True).focus()
    page.keyboard.type("done")
    expect(count).to_have_text("6 of 300 runs")
    rows = page.locator("table.matrix tbody tr:visible")
    expect(rows).to_have_count(2)
    assert rows.locator("th").all_text_contents() == ["row 7", "row 99"]
    expect(page.locator(".view-mean > .scroll tbody tr:visible")).to_have_count(2)
    for _ in range(2):  # from the state past the text to the button
        page.keyboard.press("Tab")
        if page.get_by_label("Text", exact=True).evaluate("n => n === document.activeElement"):
            page.keyboard.type("ROW 99 seed=0")
            expect(count).to_have_text("3 of 300 runs")
    expect(page.get_by_role("button", name="Show all")).to_be_focused()
    page.keyboard.press("Enter")
    expect(count).to_have_text("300 runs")
    expect(page.get_by_label("Text", exact=True)).to_have_value("")
    page.get_by_label("Column", exact=True).select_option("column 2")
    expect(count).to_have_text("100 of 300 runs")
    page.get_by_label("Row", exact=True).select_option("row 7")
    expect(count).to_have_text("1 of 300 runs")
    assert barriers(page) == []


def test_many_runs_come_a_hundred_at_a_time(large: str, open_page: OpenPage) -> None:
    page = open_page(large)
    runs = page.locator("table.runs").first.locator("tbody tr:visible")
    page.get_by_text("The runs behind every number").click()
    expect(runs).to_have_count(100)
    page.get_by_role("button", name="Show 100 more of 200").click()
    expect(runs).to_have_count(200)
    page.get_by_label("Text", exact=True).fill("nothing is called so")
    expect(runs).to_have_count(0)
    link = page.locator(".view-mean > .scroll tbody a").last
    target = str(link.get_attribute("href"))
    page.evaluate("target => { location.hash = target; }", target)
    expect(page.locator(target)).to_be_visible()
    expect(page.locator(target).locator("th")).to_have_text("row 99")
    expect(page.get_by_label("Text", exact=True)).to_have_value("")


def test_without_scripts_pictures_stand_there(report: str, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto(report)
    assert page.locator("figure.figure img").count() == 5
    expect(page.locator("figure.figure img").first).to_be_visible()
    expect(page.locator(".hint")).to_be_hidden()
    expect(page.locator("form.filters")).to_have_count(0)
    assert page.locator("table.runs tbody tr[hidden]").count() == 0
    context.close()


def test_the_folder_of_the_report_holds_nothing_else_that_it_needs(report: str) -> None:
    text = Path(report.removeprefix("file://")).read_text()
    assert not re.search(r'(?:src|href)="(?!data:|#)', text)
