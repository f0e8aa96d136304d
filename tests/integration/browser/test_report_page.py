"""The report in a browser, from disk: its figures come alive in both themes, without a complaint,
and without a script nothing is lost."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

import rml_dashboards as rd
from rml_dashboards.report.content import read_content
from rml_dashboards.report.publish import write_report
from rml_dashboards.tables.html import run_links
from tests.integration.browser.conftest import PATIENCE_MS, OpenPage
from tests.support.dashboards.recorded_study import RecordedStudy
from tests.support.platform.plan_on_disk import OWN_IMAGES

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("report")
    text = OWN_IMAGES.replace("figures:\n  - {name: loss, metric: train/loss}\n", "")
    there = RecordedStudy.make(folder, text=text, more={"iou__a": 0.4, "iou__b": 0.6})
    study = rd.study("own", out=there.out, tracking_uri="none")
    content = read_content(
        study.plan,
        study._reader,
        storage=str(there.out),
        link=run_links("none"),
        against=None,
        price=None,
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


def test_without_scripts_pictures_stand_there(report: str, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto(report)
    assert page.locator("figure.figure img").count() == 5
    expect(page.locator("figure.figure img").first).to_be_visible()
    expect(page.locator(".hint")).to_be_hidden()
    context.close()


def test_the_folder_of_the_report_holds_nothing_else_that_it_needs(report: str) -> None:
    text = Path(report.removeprefix("file://")).read_text()
    assert not re.search(r'(?:src|href)="(?!data:|#)', text)
