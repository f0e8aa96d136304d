"""The live page for everybody: axe-core finds no serious barrier, nothing is wider than the window,
the keyboard is enough. All sizes, themes and pages by `make browser`; a few of them always."""

import itertools
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.integration.browser.conftest import OpenPage, barriers
from tests.support.dashboards.live_grid import LiveGrid
from tests.support.dashboards.live_server import Served, live_of, served

PAGES = {
    "studies": "/",
    "study": "/study?key=grid",
    "rows": "/rows?key=grid",
    "run": "/run?id=grid-0-0-0",
    "running": "/run?id=grid-0-0-2",
    "failed": "/run?id=grid-0-1-0",
    "two runs": "/compare?a=grid-0-0-0&b=grid-2-0-2",
}
WIDTHS = (390, 1280, 2560)
THEMES = ("light", "dark")
ALWAYS = {("study", 390, "dark"), ("two runs", 1280, "light")}
EVERY = [
    pytest.param(
        *case, id="-".join(map(str, case)), marks=() if case in ALWAYS else pytest.mark.browser
    )
    for case in itertools.product(PAGES, WIDTHS, THEMES)
]


@pytest.mark.parametrize(("name", "width", "theme"), EVERY)
def test_no_barrier_and_nothing_wider_than_the_window(
    name: str, width: int, theme: str, there: Served, open_page: OpenPage
) -> None:
    page = open_page(f"{there.url}{PAGES[name]}", width=width, theme=theme)
    expect(page.get_by_text("● live")).to_be_visible()
    expect(page.locator("table, svg.chart").first).to_be_visible()
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert barriers(page) == []


def test_a_barrier_would_be_found(there: Served, open_page: OpenPage) -> None:
    page = open_page(there.url)
    page.evaluate("document.querySelector('main').append(document.createElement('select'))")
    assert any(one.startswith("select-name") for one in barriers(page))


def test_the_keyboard_is_enough_to_compare_two_runs(there: Served, open_page: OpenPage) -> None:
    page = open_page(f"{there.url}/study?key=grid")
    expect(page.locator("table.runs tbody tr")).to_have_count(18)
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    boxes = [f"compare {run_id}" for run_id in ("grid-0-0-0", "grid-0-0-1")]
    for box in boxes:
        press_until(page, "Tab", page.get_by_label(box, exact=True))
        page.keyboard.press("Space")
        expect(page.get_by_label(box, exact=True)).to_be_checked()
    press_until(page, "Tab", page.get_by_role("link", name="Compare", exact=True))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Two runs")).to_be_visible()
    press_until(page, "Tab", page.locator("svg.chart").first)
    page.keyboard.press("End")
    expect(page.locator(".readout").first).to_contain_text("Step 1,000: A 0.273")


def press_until(page: Page, key: str, target: object) -> None:
    """Press a key until an element has the focus; a page with a trap for the keyboard fails."""
    for _ in range(200):
        page.keyboard.press(key)
        if target.evaluate("node => node === document.activeElement"):  # type: ignore[attr-defined]
            return
    raise AssertionError(f"{target} is not reached by {key}")


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Ten thousand planned runs, of which a few have begun."""
    grid = LiveGrid.make(
        tmp_path_factory.mktemp("crowd"),
        rows=[f"row {number}" for number in range(500)],
        num_seeds=10,
        state_of=lambda number: "done" if number < 30 else "new",
    )
    with served(live_of(grid.out)) as there:
        yield there


@pytest.mark.browser
def test_ten_thousand_runs_are_paged_and_found(crowd: Served, open_page: OpenPage) -> None:
    page = open_page(f"{crowd.url}/study?key=grid")
    expect(page.locator(".count")).to_have_text("10,000 runs")
    expect(page.locator("table.matrix tbody tr")).to_have_count(50)
    assert page.evaluate("document.querySelectorAll('*').length") < 6000
    pages = page.get_by_role("navigation", name="Pages of runs")
    pages.get_by_role("button", name="Last").click()
    expect(pages).to_contain_text("9,951 to 10,000 of 10,000")
    expect(pages.get_by_role("button", name="Next")).to_have_attribute("aria-disabled", "true")
    page.get_by_label("Text", exact=True).fill("grid-499-1-9")
    expect(page.locator("table.runs tbody tr")).to_have_count(1)
    assert barriers(page) == []
