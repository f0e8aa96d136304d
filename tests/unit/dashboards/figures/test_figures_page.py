"""`rml figures --html`: one page whose figures answer the pointer, and which fetches nothing."""

import json
import re
from pathlib import Path

import pytest

from rml_dashboards.errors import DashboardError
from rml_dashboards.figures.publish import drawn_curves
from rml_dashboards.figures.web.page import write_page
from tests.support.dashboards.html_pages import Read
from tests.support.dashboards.recorded_study import LOSSES, RecordedStudy
from tests.support.dashboards.small_figures import figure_of, spec_of
from tests.support.platform.command import rml


def test_the_page_has_every_figure_as_picture_and_as_values(tmp_path: Path) -> None:
    there = RecordedStudy.make(tmp_path)
    place = ("--out", there.out, "--tracking-uri", "none")
    said = rml("figures", "own", *place, "--html").split()
    page = there.out / "studies" / "own" / "figures.html"
    assert said[-1] == str(page)
    text = page.read_text()
    found = Read(text)
    assert not found.open
    pictures = [own for tag, own, _ in found.elements if tag == "img"]
    assert [own["alt"] for own in pictures] == ["own"]
    (plot,) = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', text)
    curves = [trace for trace in json.loads(plot)["data"] if trace["x"] == list(LOSSES)]
    assert {trace["name"] for trace in curves if "name" in trace} == {"Supervised", "RML"}
    assert "default-src &#x27;none&#x27;" in text
    assert page.stat().st_size < 3_000_000
    assert page not in map(Path, rml("figures", "own", *place).split())


def test_a_page_of_nothing_is_refused(tmp_path: Path) -> None:
    empty = drawn_curves(figure_of(spec_of("RML"), {}))
    with pytest.raises(DashboardError, match="nothing to draw yet for f"):
        write_page([empty], "T", tmp_path / "figures.html")
    assert not list(tmp_path.iterdir())
