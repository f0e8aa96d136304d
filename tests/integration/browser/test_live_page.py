"""The live page in a browser: it loads, follows the runs, filters, compares, and is let in."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, Route, expect

from rml_dashboards.live.web.access import Access
from tests.integration.browser.conftest import OpenPage, settle
from tests.support.dashboards.live_grid import LiveGrid, failure, heartbeat, result
from tests.support.dashboards.live_server import Served, live_of, served
from tests.support.platform.hostile_names import HOSTILE_NAMES

TOKEN = "a-token-of-sufficient-length"
SCRIPT = "<img src=x onerror=alert(1)><script>alert(1)</script>"


def rows(page: Page) -> list[str]:
    return page.locator("table.runs tbody th a").all_inner_texts()


def test_from_the_list_of_studies_to_a_run(there: Served, open_page: OpenPage) -> None:
    page = open_page(there.url)
    expect(page.get_by_text("● live")).to_be_visible()
    page.get_by_role("link", name="grid").click()
    expect(page.get_by_role("heading", name="grid")).to_be_visible()
    expect(page.locator("table.matrix tbody tr")).to_have_count(3)
    expect(page.locator("table.matrix tbody tr").first).to_contain_text("2 done")
    expect(page.locator("#results")).to_contain_text("40.5 ± 0.7 (2 of 3)")
    expect(page.locator("#failures")).to_contain_text("CudaError: the device ran out of memory")
    page.locator("#failures summary").first.click()
    expect(page.locator("#failures pre").first).to_contain_text("Traceback")
    page.get_by_role("link", name="grid-0-0-0").click()
    expect(page.locator("svg.chart")).to_have_count(2)
    told = page.locator("svg.chart").first.get_attribute("aria-label") or ""
    assert "train/loss. grid-0-0-0: from 2.970 at step 1 to 0.273 at step 1000." in told
    expect(page.locator("#scores-title")).to_be_visible()
    shown = page.locator(".pictures img").first
    expect(shown).to_be_visible()
    expect(shown).to_have_js_property("naturalWidth", 288)


def test_a_study_follows_its_runs_without_being_asked(
    there: Served, grid: LiveGrid, open_page: OpenPage
) -> None:
    page = open_page(f"{there.url}/study?key=grid")
    line = page.locator("table.runs tr", has_text="grid-0-0-2")
    expect(line).to_contain_text("running")
    box = page.get_by_label("compare grid-0-0-2")
    box.focus()
    grid.write("grid-0-0-2", "heartbeat.json", heartbeat(800))
    expect(line).to_contain_text("80 %")
    expect(box).to_be_focused()
    grid.write("grid-0-0-2", "result.json", result(0.45))
    expect(line).to_contain_text("done")
    expect(page.locator("#results")).to_contain_text("42.0 ± 2.6 (3)")
    expect(page.locator("p.spoken[role=status]").first).to_contain_text("7 done, 2 running")
    LiveGrid.make(grid.out, name="second", num_seeds=1)
    page.get_by_role("link", name="rml", exact=True).click()
    expect(page.get_by_role("link", name="second")).to_be_visible()


def test_a_curve_grows_while_its_run_trains(
    there: Served, grid: LiveGrid, open_page: OpenPage
) -> None:
    page = open_page(f"{there.url}/run?id=grid-0-0-2")
    chart = page.locator("svg.chart").first
    expect(chart).to_have_attribute("aria-label", re.compile("to 1.485 at step 102"))
    for step in (300, 600):
        grid.write("grid-0-0-2", "heartbeat.json", heartbeat(step, loss=1 / step))
        expect(page.locator("dl.facts")).to_contain_text(f"{step} of 1,000")
    expect(page.locator("figure.curve").first).to_contain_text("dashed: said since the newest")
    chart.focus()
    page.keyboard.press("End")
    expect(page.locator(".readout").first).to_contain_text("Step 600: 0.002")


def test_runs_are_filtered_and_the_address_keeps_it(there: Served, open_page: OpenPage) -> None:
    page = open_page(f"{there.url}/study?key=grid")
    expect(page.locator("table.runs tbody tr")).to_have_count(18)
    page.get_by_label("State", exact=True).select_option("failed")
    expect(page.locator("table.runs tbody tr")).to_have_count(3)
    page.get_by_label("Tag or setting").select_option("method=rml")
    expect(page.locator("table.runs tbody tr")).to_have_count(1)
    expect(page.locator(".count")).to_have_text("1 of 18 runs")
    page.reload()
    expect(page.locator("table.runs tbody tr")).to_have_count(1)
    expect(page.get_by_label("State", exact=True)).to_have_value("failed")
    page.get_by_role("button", name="Show all").click()
    expect(page.locator("table.runs tbody tr")).to_have_count(18)
    page.get_by_label("Text", exact=True).fill("iml seed=1")
    expect(page.locator("table.runs tbody tr")).to_have_count(2)
    page.get_by_label("Text", exact=True).fill("")
    page.locator("table.matrix a").first.click()
    expect(page.locator("table.runs tbody tr")).to_have_count(3)
    expect(page.get_by_label("Row", exact=True)).to_have_value("Supervised")


def test_two_runs_are_picked_and_compared(there: Served, open_page: OpenPage) -> None:
    page = open_page(f"{there.url}/study?key=grid")
    page.get_by_label("compare grid-0-0-0").check()
    page.get_by_label("compare grid-2-0-2").check()
    page.get_by_role("link", name="Compare", exact=True).click()
    expect(page.get_by_role("heading", name="Two runs")).to_be_visible()
    headings = ["What differs", "Curves", "Scores", "The same images"]
    expect(page.locator("h2")).to_have_text(headings)
    expect(page.locator("section", has_text="What differs").locator("tbody tr")).to_have_count(2)
    expect(page.locator("section", has_text="What differs")).to_contain_text("method.name")
    expect(page.locator("svg.chart").first.locator("path.run1")).to_have_count(2)
    expect(page.locator("table", has_text="car (parked)")).to_contain_text("+14.0")
    page.get_by_text("One over the other").first.click()
    page.get_by_label("Share of B").first.fill("80")
    expect(page.locator(".stack .upper").first).to_have_css("opacity", "0.8")


def test_names_that_mean_harm_are_text(open_page: OpenPage, grid: LiveGrid) -> None:
    names = (*HOSTILE_NAMES, SCRIPT)
    hostile = LiveGrid.make(
        grid.out, name="hostile", rows=names, columns=(SCRIPT,), num_seeds=1, title=SCRIPT
    )
    run_id = "hostile-0-0-0"
    (hostile.folder(run_id) / "result.json").unlink()
    hostile.write(run_id, "failure.json", failure(SCRIPT, SCRIPT))
    hostile.write(run_id, "log.txt", SCRIPT.encode())
    with served(live_of(grid.out)) as there:
        page = open_page(f"{there.url}/study?key=hostile")
        expect(page.locator("table.matrix tbody tr")).to_have_count(len(names))
        shown = page.locator("table.matrix tbody th").all_text_contents()
        assert shown == list(names)
        expect(page.locator("#failures")).to_contain_text(SCRIPT)
        page.get_by_label("Row", exact=True).select_option("道路")
        expect(page.locator("table.runs tbody tr")).to_have_count(1)
        page.goto(f"{there.url}/run?id={run_id}")
        expect(page.locator("pre").last).to_have_text(SCRIPT)
        assert page.locator("img[src=x]").count() == 0
        page.close()  # or it would complain of the server that goes


def test_an_answer_that_comes_late_does_not_undo_a_later_choice(
    there: Served, open_page: OpenPage
) -> None:
    page = open_page(f"{there.url}/study?key=grid")
    runs = page.locator("table.runs tbody tr")
    expect(runs.first).to_be_visible()
    everything = runs.count()
    chosen = page.get_by_label("Row", exact=True)
    row = chosen.locator("option").nth(1).get_attribute("value")
    held: list[Route] = []

    def hold_all(route: Route) -> None:
        if parse_qs(urlsplit(route.request.url).query).get("row"):
            route.continue_()
        else:
            held.append(route)

    page.route("**/api/runs?*", hold_all)
    with page.expect_request("**/api/runs?*"):
        page.get_by_role("button", name="Show all").click()
    chosen.select_option(row)
    expect(runs).not_to_have_count(everything)
    few = runs.count()
    with page.expect_response("**/api/runs?*") as late:
        held[0].continue_()
    settle(page, late.value)
    assert runs.count() == few < everything
    page.close()


def test_a_choice_that_the_server_cannot_answer_is_said_and_asked_again(
    there: Served, open_page: OpenPage
) -> None:
    page = open_page(f"{there.url}/study?key=grid", may_complain=True)
    runs = page.locator("table.runs tbody tr")
    expect(runs.first).to_be_visible()
    everything = runs.count()
    asked: list[str] = []

    def refuse_twice(route: Route) -> None:
        asked.append(route.request.url)
        if len(asked) > 2:
            route.continue_()
        else:
            route.fulfill(status=503, json={"problem": "the disk is away"})

    page.route("**/api/runs?*", refuse_twice)
    chosen = page.get_by_label("Row", exact=True)
    chosen.select_option(chosen.locator("option").nth(1).get_attribute("value"))
    expect(page.get_by_text("the disk is away")).to_be_visible()
    expect(runs).not_to_have_count(everything)
    expect(page.get_by_text("the disk is away")).to_be_hidden()
    page.close()


def test_the_printed_address_lets_in_and_keeps_no_token(
    grid: LiveGrid, open_page: OpenPage
) -> None:
    with served(live_of(grid.out), Access.of("127.0.0.1", TOKEN)) as there:
        page = open_page(f"{there.url}/#token={TOKEN}")
        expect(page.get_by_role("link", name="grid")).to_be_visible()
        expect(page.get_by_text("● live")).to_be_visible()
        assert page.url == f"{there.url}/"
        assert page.evaluate("document.cookie") == ""
        page.goto(f"{there.url}/run?id=grid-0-0-0")
        expect(page.locator(".pictures img").first).to_have_js_property("naturalWidth", 288)
        page.close()


@pytest.mark.parametrize("path", ["/run?id=none", "/study?key=none", "/compare?a=none&b=none"])
def test_what_is_not_there_is_said(path: str, there: Served, open_page: OpenPage) -> None:
    page = open_page(f"{there.url}{path}", may_complain=True)
    expect(page.get_by_role("heading", name="Not here")).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text("no such")


def test_without_the_token_a_person_is_asked_for_it(grid: LiveGrid, open_page: OpenPage) -> None:
    with served(live_of(grid.out), Access.of("127.0.0.1", TOKEN)) as there:
        page = open_page(f"{there.url}/study?key=grid", may_complain=True)
        field = page.get_by_label("Token")
        expect(field).to_be_focused()
        field.fill("not the token, and long enough")
        page.get_by_role("button", name="Open").click()
        expect(page.get_by_role("alert")).to_have_text("That is not the token.")
        field.fill(TOKEN)
        page.keyboard.press("Enter")
        expect(page.locator("table.matrix tbody tr")).to_have_count(3)


def test_a_page_that_has_lost_its_server_says_so_and_comes_back(
    grid: LiveGrid, open_page: OpenPage
) -> None:
    with served(live_of(grid.out)) as there:
        page = open_page(f"{there.url}/study?key=grid", may_complain=True)
        expect(page.get_by_text("● live")).to_be_visible()
        port = there.port
    expect(page.get_by_text("not connected")).to_be_visible()
    grid.write("grid-0-0-2", "result.json", result(0.45))
    with served(live_of(grid.out), port=port):
        expect(page.get_by_text("● live")).to_be_visible()
        expect(page.locator("table.runs tr", has_text="grid-0-0-2")).to_contain_text("done")
