"""Tables as pages: whole, escaped, reaching nothing, and readable without eyes."""

from typing import Any

import pytest

from rml_dashboards.contract.planned import ReportedNumber
from rml_dashboards.tables.entries import Table
from rml_dashboards.tables.html import html, run_links
from rml_dashboards.tables.specification import ColumnSpec, RowSpec
from rml_dashboards.tables.texts import grid
from tests.support.dashboards.html_pages import MARKUP, Read
from tests.support.dashboards.small_tables import runs_of, table_of
from tests.support.platform.hostile_names import HOSTILE_NAMES

PAPER = (ReportedNumber(mean=62.85, std=0.3, source="paper", note="other splits"),)

NO_LINKS = run_links("none")


def small(**more: Any) -> Table:
    rows = (
        RowSpec(label="IML", group="Ours"),
        RowSpec(label="RML", group="Ours", reported={"1/8": PAPER}),
        RowSpec(label="CutMix", reported={"1/8": PAPER}, reported_only=True),
    )
    runs = runs_of("IML", 0.5, 0.52, 0.54) + runs_of("RML", 0.6, 0.62)
    return table_of(runs, rows=rows, **more)


def test_every_cell_of_the_table_stands_on_the_page() -> None:
    table = small()
    read = Read(html(table, NO_LINKS))
    assert not read.open, "everything that was opened is closed"
    wanted = [cell.text.strip() for line in grid(table).lines for cell in line if cell.text]
    shown = read.texts("td") + read.texts("th")
    assert all(text in shown for text in wanted)
    assert read.texts("caption") == ["T"]
    for note in table.notes:
        assert note in read.texts("li")


def test_headings_say_what_they_are_headings_of() -> None:
    read = Read(html(small(), NO_LINKS))
    assert read.texts("th", scope="col")[:2] == ["Method", "1/8"]
    assert {"IML", "RML", "CutMix"} <= set(read.texts("th", scope="row"))
    assert read.texts("th", scope="rowgroup") == ["Ours"]
    headless = [own for tag, own, _ in read.elements if tag == "th" and not own.get("scope")]
    assert not headless


def test_a_number_leads_to_its_runs() -> None:
    read = Read(html(small(), NO_LINKS))
    links = [own for tag, own, _ in read.elements if tag == "a"]
    ids = {own.get("id") for _, own, _ in read.elements}
    assert links and all(str(own["href"]).removeprefix("#") in ids for own in links)
    assert "seed 1: IML-1/8-1 (done)" in str(links[0]["title"])


@pytest.mark.parametrize(
    ("uri", "address"),
    [
        ("http://mlflow:5000/", "http://mlflow:5000/#/runs/mlflow-IML-1%2F8-0"),
        ("sqlite:///mlflow.db", ""),
        ("none", ""),
        ("http://user:secret@mlflow:5000", ""),
    ],
)
def test_runs_on_a_server_are_linked(uri: str, address: str) -> None:
    text = html(small(), run_links(uri))
    linked = [o["href"] for t, o, _ in Read(text).elements if t == "a" and o.get("rel")]
    assert linked[:1] == ([address] if address else [])
    assert "secret" not in text


def test_nothing_is_fetched_from_anywhere() -> None:
    text = html(small(), NO_LINKS)
    assert "default-src 'none'" in text.replace("&#x27;", "'")
    read = Read(text)
    assert not [tag for tag, *_ in read.elements if tag in ("script", "link", "img", "iframe")]
    assert not [own for _, own, _ in read.elements if own.get("src")]


@pytest.mark.parametrize("name", [*HOSTILE_NAMES, *MARKUP])
def test_names_are_nothing_but_text(name: str) -> None:
    row = RowSpec(label=name, group=name, reported={name: (ReportedNumber(mean=1.0, note=name),)})
    table = table_of([], rows=(row,), columns=(ColumnSpec(label=name),), title=name, caption=name)
    plain = table_of([], rows=(RowSpec(label="a", group="b"),), columns=(ColumnSpec(label="c"),))
    tags = {tag for tag, *_ in Read(html(table, NO_LINKS)).elements}
    extra = {"p", "ol", "li"}
    assert tags - extra == {tag for tag, *_ in Read(html(plain, NO_LINKS)).elements} - extra
    assert name.strip() in Read(html(table, NO_LINKS)).texts("th", scope="row")


def test_the_same_table_has_the_same_bytes() -> None:
    assert html(small(), NO_LINKS) == html(small(), NO_LINKS)
