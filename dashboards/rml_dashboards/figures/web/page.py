"""Figures within a page that stands alone: as pictures, which a script draws anew, so that they
answer the pointer, where there is a browser that can."""

import base64
import functools
import gzip
import hashlib
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path

from rml_dashboards.errors import DashboardError
from rml_dashboards.figures.drawing import figure_of
from rml_dashboards.figures.publish import Drawn
from rml_dashboards.figures.style import encoded
from rml_dashboards.figures.web.compact import compact, data_address
from rml_dashboards.figures.web.interactive import across, as_json, interactive
from rml_dashboards.writing.files import write_text
from rml_dashboards.writing.page import POLICY, attributes_text, element, page
from rml_dashboards.writing.pipe_table import one_line

FIGURE = '<figure class="figure">'
HINT = (
    "Values stand under the pointer. Drag over a part for a closer look, double-click to go back; "
    "click a name in a legend to hide its row, double-click it to see that row alone."
)


def figure_parts(figure: Drawn, *, is_alive: bool = True) -> list[str]:
    """A figure with what is said of it.

    Args:
        is_alive: also as what a script draws anew; else it stays a picture.
    """
    said = (f"{figure.name}: {figure.title}.", *figure.says)
    caption = element("figcaption", " ".join(one_line(text) for text in said))
    if figure.chart is None:
        return [f"<figure>{caption}</figure>"]
    source = data_address(compact(encoded(figure_of(figure.chart), "svg")))
    image = attributes_text({"src": source, "alt": one_line(figure.title), "loading": "lazy"})
    region = attributes_text({"aria_label": one_line(figure.title)})
    wide = f'<div class="scroll" tabindex="0" role="region"{region}><img{image}></div>'
    if not is_alive:
        return [f"<figure>{wide}{caption}</figure>"]
    about = {"class": "plot", "data-across": across(figure.chart)}
    about["data-title"] = one_line(figure.title)
    data = as_json(interactive(figure.chart))
    plot = f'<script type="application/json"{attributes_text(about)}>{data}</script>'
    return [f"{FIGURE}{wide}{plot}{caption}</figure>"]


def hint_parts() -> list[str]:
    """How figures are handled, which is shown where they can be."""
    return [element("p", HINT, class_="note hint", hidden="hidden")]


def library_parts(parts: Iterable[str]) -> list[str]:
    """plotly's JavaScript, once for a page that has figures among its parts; packed, because only
    who looks at a figure needs it."""
    if not any(part.startswith(FIGURE) for part in parts):
        return []
    return [f'<script type="text/plain" id="plotly">{_packed()}</script>']


def policy_for(*scripts: str, has_library: bool = True) -> str:
    """What a page with these scripts may load: itself, and nothing else. `has_library`: the one
    that draws figures is among them."""
    allowed = (*scripts, _library()) if has_library else scripts
    hashes = " ".join(f"'{_digest(text)}'" for text in allowed)
    return f"{POLICY}; script-src {hashes}"


def figures_script() -> str:
    """The script that draws the figures of a page."""
    return _file("figures.js")


def figures_style() -> str:
    """How figures stand in a page."""
    return _file("figures.css")


def write_page(figures: Sequence[Drawn], title: str, path: Path) -> Path:
    """Write a page of figures.

    Raises:
        DashboardError: there is nothing to draw in any of them.
    """
    if not any(figure.chart for figure in figures):
        names = ", ".join(figure.name for figure in figures)
        raise DashboardError(f"nothing to draw yet for {names}: no run has reported anything")
    parts = [element("h1", one_line(title)), *hint_parts(), '<div class="figures">']
    parts += [part for figure in figures for part in figure_parts(figure)]
    parts += ["</div>", *library_parts(parts), f"<script>{figures_script()}</script>"]
    policy = policy_for(figures_script())
    return write_text(page(title, parts, style=figures_style(), policy=policy), path)


@functools.cache
def _library() -> str:
    """The package brings the whole library only; its smaller bundles are not in it."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


@functools.cache
def _packed() -> str:
    return base64.b64encode(gzip.compress(_library().encode(), 9, mtime=0)).decode()


@functools.cache
def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
