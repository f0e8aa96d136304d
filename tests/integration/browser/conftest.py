"""Headless Chromium of this machine, and a page that fails a test on any complaint."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Response, expect, sync_playwright

from tests.support.dashboards.live_grid import LiveGrid
from tests.support.dashboards.live_server import Served, live_of, served

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""Without these, Chromium asks for hosts of its maker; the sandbox does not start for root."""
SERIOUS = {"serious", "critical"}
OpenPage = Callable[..., Page]
PATIENCE_MS = 60_000
"""How long a page may take to show what a test waits for: a busy machine is no error."""


def barriers(page: Page) -> list[str]:
    """Serious findings of axe-core, each with the elements that it is about."""
    found = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {one['help']}: {[node['html'][:200] for node in one['nodes'][:3]]}"
        for one in found
        if one["impact"] in SERIOUS
    ]


def settle(page: Page, answer: Response) -> None:
    """Until a page has drawn what it makes of an answer, or has left it alone."""
    answer.finished()
    page.evaluate(
        "() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))"
    )


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    found = os.environ.get("RML_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(
            f"needs a Chromium: none of {', '.join(NAMES)} is on the path; install one (Debian: "
            "apt-get install chromium), or name its program in RML_BROWSER"
        )
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=list(QUIET))
        yield started
        started.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Opens an address; whatever its page writes to the console or throws is a failure, unless it
    may complain (browsers write down every answer that is an error)."""
    complaints: list[str] = []
    contexts = []

    def opened(
        url: str,
        *,
        width: int = 1280,
        height: int = 900,
        theme: str = "light",
        may_complain: bool = False,
    ) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if theme == "dark" else "light",
        )
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        if not may_complain:
            page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
        page.goto(url)
        page.wait_for_selector("h1")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def grid(tmp_path: Path) -> LiveGrid:
    """Three methods, two columns, three seeds, every state; two finished runs have everything."""
    grid = LiveGrid.make(tmp_path)
    for seed, run_id in enumerate(("grid-0-0-0", "grid-2-0-2")):
        grid.beside(run_id, seed)
    return grid


@pytest.fixture
def there(grid: LiveGrid) -> Iterator[Served]:
    with served(live_of(grid.out)) as site:
        yield site
