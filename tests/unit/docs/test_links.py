"""Links of the documentation: every file and heading that a page points to is there."""

import re
from pathlib import Path

import pytest

from tests.support.documentation.pages import ROOT, Link, Page, pages

PAGES = pages()


def page_name(page: Page) -> str:
    return page.path.relative_to(ROOT).as_posix()


def problem(link: Link) -> str | None:
    """What is wrong with a link; None for a good one."""
    if link.target.startswith(("https://", "http://")):
        return None
    path, _, anchor = link.target.partition("#")
    if path.startswith("/"):
        return f"{link.target}: an absolute path works on no other machine"
    target = (link.page.parent / path).resolve() if path else link.page
    if not target.is_relative_to(ROOT) or not target.exists():
        return f"{link.target}: no such file"
    if anchor and (target.suffix != ".md" or anchor not in Page(target).anchors):
        return f"{link.target}: no such heading"
    return None


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_links_lead_somewhere(page: Page) -> None:
    wrong = [f"{link.place}: {text}" for link in page.links if (text := problem(link))]
    assert not wrong, "\n".join(wrong)


FILE = re.compile(r"^[\w.-]+(/[\w.-]+)+\.(py|md|yaml|csv|svg)$")
FOLDERS = (
    ROOT,
    ROOT / "trainers" / "rml_trainers",
    ROOT / "platform" / "rml_platform",
    ROOT / "dashboards" / "rml_dashboards",
    ROOT / "tests" / "benchmarks" / "rml_benchmarks",
)


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_files_named_within_the_text_are_there(page: Page) -> None:
    missing = [
        f"{page_name(page)}:{number}: {span}"
        for number, span in page.code_spans
        if FILE.match(span)
        and not any((folder / span).is_file() for folder in (page.path.parent, *FOLDERS))
    ]
    assert not missing, "\n".join(missing)


def test_every_page_of_the_documentation_is_in_its_index() -> None:
    folder = ROOT / "docs"
    listed = {link.target for link in Page(folder / "README.md").links}
    missing = {path.name for path in folder.glob("*.md")} - listed - {"README.md"}
    assert not missing, f"docs/README.md does not list {', '.join(sorted(missing))}"


def test_the_readme_is_short() -> None:
    num_words = len((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert num_words <= 900, f"{num_words} words; what a newcomer does not need goes to docs/"


def test_pictures_of_the_readme_are_small() -> None:
    pictures = [
        ROOT / link.target
        for link in Page(ROOT / "README.md").links
        if Path(link.target).suffix in (".svg", ".png")
    ]
    assert pictures
    assert all(picture.stat().st_size < 150_000 for picture in pictures)


def test_a_bad_link_is_found(tmp_path: Path) -> None:
    page = ROOT / "docs" / "README.md"
    bad = ("no-such-page.md", "studies.md#no-such-heading", "/etc/hosts", "../../outside.md")
    assert all(problem(Link(page, 1, target)) for target in bad)
    good = ("studies.md#figures", "../README.md", "https://example.org/x")
    assert not any(problem(Link(page, 1, target)) for target in good)
