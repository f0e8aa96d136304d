"""A picture within a page looks as the file that `rml figures` writes, and is much smaller."""

import io
import re
import xml.etree.ElementTree as ET
from urllib.parse import unquote

import numpy as np
import pytest
from matplotlib.figure import Figure

from rml_dashboards.figures.style import encoded, in_style
from rml_dashboards.figures.web.compact import compact, data_address

SVG = "{http://www.w3.org/2000/svg}"
HREF = "{http://www.w3.org/1999/xlink}href"


def drawn(title: str = "a < b & c % #1") -> bytes:
    def draw() -> Figure:
        figure = Figure(figsize=(3.5, 2.5))
        axes = figure.subplots()
        x = np.linspace(0, 10, 300)
        axes.plot(x, np.sin(x))
        axes.fill_between(x, np.sin(x) - 0.1, np.sin(x) + 0.1, alpha=0.2)
        axes.plot(x[::10], np.cos(x[::10]), "o", alpha=0.5)
        axes.set_title(title)
        return figure

    return encoded(in_style(draw), "svg")


def numbers(svg: str | bytes) -> list[list[float]]:
    """Coordinates of every path, in order."""
    found = []
    for one in ET.fromstring(svg).iter(f"{SVG}path"):
        text = re.findall(r"-?[0-9]+(?:\.[0-9]+)?", one.get("d", ""))
        found.append([float(number) for number in text])
    return found


def test_every_coordinate_is_where_it_was() -> None:
    whole = drawn()
    small = compact(whole)
    assert len(small) < 0.65 * len(whole)
    before = numbers(whole)
    after = numbers(small)
    assert [len(path) for path in after] == [len(path) for path in before]
    for one, other in zip(before, after, strict=True):
        assert other == pytest.approx(one, abs=0.0051)


def test_every_mark_keeps_its_look_and_its_target() -> None:
    def looks(svg: str | bytes) -> list[tuple[str, str]]:
        root = ET.fromstring(svg)
        parents = {child: parent for parent in root.iter() for child in parent}
        found = []
        for use in root.iter(f"{SVG}use"):
            style = use.get("style") or parents[use].get("style") or ""
            found.append((use.attrib[HREF], re.sub(r"(?<=[:;]) ", "", style)))
        return found

    small = compact(drawn())
    assert looks(small) == looks(drawn())
    ids = {one.get("id") for one in ET.fromstring(small).iter()}
    assert {f"{target[1:]}" for target, _ in looks(small)} <= ids
    assert "metadata" not in small and "<!--" not in small


def test_the_address_may_stand_in_double_quotes() -> None:
    address = data_address(compact(drawn()))
    assert not set(address) & set('"<>&')
    text = unquote(address.partition(",")[2])
    assert ET.parse(io.StringIO(text)).getroot().tag == f"{SVG}svg"
