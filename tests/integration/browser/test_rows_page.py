"""Rows of a study beside each other in a browser: chosen, drawn, compared, kept in the address."""

import json
import re
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Route, expect

from rml_dashboards.errors import DashboardError
from tests.integration.browser.conftest import OpenPage, settle
from tests.support.dashboards.live_grid import LiveGrid, result
from tests.support.dashboards.live_server import Served, live_of, served
from tests.support.platform.hostile_names import HOSTILE_NAMES

SCRIPT = "<img src=x onerror=alert(1)><script>alert(1)</script>"
ROWS = "/rows?key=grid"


@pytest.fixture
def grid(grid: LiveGrid) -> LiveGrid:
    """All runs of the first column are done; every row has pictures under seed 0."""
    for number, (row, column, seed, run_id) in enumerate(grid.cells()):
        if column == 0:
            grid.put(run_id, "done", method=grid.method(row), seed=number)
            grid.write(run_id, "result.json", result(0.4 + row / 100 + seed**2 / 100))
        if column == 0 and seed == 0:
            grid.beside(run_id, row)
    measured = json.loads((grid.folder("grid-0-0-0") / "metrics" / "end.json").read_text())
    higher = [[metric, step, time, 1.1 * value] for metric, step, time, value in measured]
    grid.write("grid-0-0-1", "metrics/end.json", higher)
    return grid


def test_from_a_study_to_its_rows(there: Served, open_page: OpenPage) -> None:
    page = open_page(f"{there.url}/study?key=grid")
    page.get_by_role("link", name="Rows beside each other").click()
    expect(page.get_by_role("heading", name="grid: rows beside each other")).to_be_visible()
    expect(page.locator("h2")).to_have_count(4)
    expect(page.locator("#row-curves-title ~ * path.band")).to_have_count(2)
    expect(page.locator("svg.chart path.line.row0").first).to_be_visible()
    scores = page.locator("section", has=page.locator("#row-scores-title"))
    expect(scores.locator("tbody tr")).to_have_count(3)
    expect(scores.locator("tbody tr").first).to_contain_text("41.7 ± 2.1")
    expect(scores.locator("svg.strip circle.row0")).to_have_count(3)
    scores.locator("summary").first.click()
    expect(scores.get_by_role("link", name="seed 2").first).to_be_visible()
    pictures = page.locator(".panels .panel")
    expect(pictures).to_have_count(5)  # image, truth, three rows
    expect(pictures.last.locator("img")).to_have_js_property("naturalWidth", 288)
    name = "val_00000.png as RML predicts it"
    expect(pictures.last.locator("img")).to_have_attribute("alt", name)


def test_the_answer_to_an_earlier_choice_does_not_replace_the_later_one(
    there: Served, open_page: OpenPage
) -> None:
    page = open_page(there.url + ROWS)
    table = page.locator("section", has=page.locator("#row-differences-title")).locator("table")
    expect(table).to_contain_text("mIoU (%): differences from Supervised")
    expect(table.locator("caption")).to_have_attribute("title", "recorded as final/miou")
    held: list[Route] = []

    def hold_rml(route: Route) -> None:
        if parse_qs(urlsplit(route.request.url).query)["against"] == ["RML"]:
            held.append(route)
        else:
            route.continue_()

    page.route("**/api/rows/differences?*", hold_rml)
    chosen = page.get_by_label("Differences from", exact=True)
    with page.expect_request("**/api/rows/differences?*"):
        chosen.select_option("RML")
    chosen.select_option("IML")
    expect(table).to_contain_text("differences from IML")
    with page.expect_response("**/api/rows/differences?*") as late:
        held[0].continue_()
    settle(page, late.value)
    expect(table).to_contain_text("differences from IML")
    page.close()


def test_differences_from_any_row_and_the_address_keeps_it(
    there: Served, open_page: OpenPage
) -> None:
    page = open_page(there.url + ROWS)
    table = page.locator("section", has=page.locator("#row-differences-title")).locator("tbody")
    expect(table.locator("tr")).to_have_count(2)
    expect(table.locator("tr").last).to_contain_text("+2.0 ± 0.0")
    page.get_by_label("Differences from", exact=True).select_option("RML")
    expect(table.locator("tr").first).to_contain_text("Supervised")
    expect(table.locator("tr").first).to_contain_text("−2.0 ± 0.0")
    page.get_by_label("Curve of", exact=True).select_option("train/loss")
    expect(page.locator("svg.chart")).to_have_attribute(
        "aria-label", re.compile("^train/loss. Supervised")
    )
    page.get_by_label("Image", exact=True).select_option("val_00001.png")
    page.reload()
    expect(page.get_by_label("Differences from", exact=True)).to_have_value("RML")
    expect(page.get_by_label("Curve of", exact=True)).to_have_value("train/loss")
    expect(page.get_by_label("Image", exact=True)).to_have_value("val_00001.png")
    page.get_by_label("Column", exact=True).select_option("1/4")
    expect(page.locator("#row-scores-title ~ * caption")).to_contain_text("every run of 1/4")


def test_the_keyboard_is_enough(there: Served, open_page: OpenPage) -> None:
    page = open_page(there.url + ROWS)
    chart = page.locator("svg.chart")
    expect(chart).to_be_visible()
    chart.focus()
    page.keyboard.press("End")
    expect(page.locator(".readout")).to_contain_text("Step 918: Supervised (n = 2 of 3) 51.7 ± 3.5")
    page.get_by_label("RML", exact=True).focus()
    page.keyboard.press("Space")
    expect(page.get_by_label("RML", exact=True)).not_to_be_checked()
    expect(page.locator("svg.chart path.line.row2")).to_have_count(0)
    expect(page.get_by_label("RML", exact=True)).to_be_focused()
    assert "row=Supervised&row=IML" in page.url


def test_rows_follow_their_runs(there: Served, grid: LiveGrid, open_page: OpenPage) -> None:
    page = open_page(there.url + ROWS)
    first = page.locator("table.beside-rows tbody tr").first
    expect(first).to_contain_text("41.7 ± 2.1")
    later = result(0.5)
    grid.write("grid-0-0-2", "result.json", later | {"time": later["time"] + 60})
    expect(first).to_contain_text("43.7 ± 5.5")


def test_names_that_mean_harm_are_text(open_page: OpenPage, grid: LiveGrid) -> None:
    names = (*HOSTILE_NAMES, SCRIPT)
    LiveGrid.make(
        grid.out,
        name="hostile",
        rows=names,
        columns=(SCRIPT,),
        num_seeds=2,
        state_of=lambda number: "done",
    )
    with served(live_of(grid.out)) as there:
        page = open_page(f"{there.url}/rows?key=hostile")
        table = page.locator("section", has=page.locator("#row-scores-title")).locator("tbody")
        expect(table.locator("tr")).to_have_count(len(names))
        assert table.locator("th").all_text_contents() == list(names)
        page.get_by_label("Differences from", exact=True).select_option(SCRIPT)
        expect(page.locator("caption").last).to_contain_text(SCRIPT)
        assert page.locator("img[src=x]").count() == 0
        page.close()


def test_a_phone_has_short_cards_and_a_wide_window_two_columns(
    there: Served, open_page: OpenPage
) -> None:
    phone = open_page(f"{there.url}/study?key=grid", width=390)
    done = phone.locator("table.runs tbody tr", has_text="grid-0-0-0")
    expect(done).to_contain_text("done")
    expect(done.locator("progress")).to_be_hidden()
    wide = open_page(f"{there.url}/study?key=grid", width=2560)
    expect(wide.locator("#results table")).to_be_visible()
    cells, results = wide.evaluate(  # at one moment: what comes late moves both
        "['#cells', '#results'].map(one => document.querySelector(one).getBoundingClientRect())"
        ".map(one => one.toJSON())"
    )
    assert cells["y"] == results["y"] and results["left"] > cells["right"]
    assert results["right"] > 2450
    expect(wide.locator("table.runs progress").first).to_be_visible()


def test_a_storage_that_is_away_for_a_moment_is_told_of_for_a_moment(
    there: Served, grid: LiveGrid, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = open_page(f"{there.url}/run?id=grid-0-0-2", may_complain=True)
    expect(page.locator("dl.facts")).to_contain_text("done")

    def away(*_: object) -> dict[str, object]:
        raise DashboardError("the storage is away")

    with monkeypatch.context() as broken:
        broken.setattr(there.live.storage, "files", away)
        grid.write("grid-0-0-1", "log.txt", b"news")
        expect(page.locator("#wrong")).to_have_text("the storage is away")
        expect(page.locator("dl.facts")).to_contain_text("done")
    expect(page.locator("#wrong")).to_be_hidden()
