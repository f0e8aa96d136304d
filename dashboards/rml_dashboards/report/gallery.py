"""Validation images as the rows of a study see them: image, truth and prediction under a slider."""

import base64
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError
from pyarrow import ArrowException, fs

from rml_dashboards.contract.run_folder import PREDICTIONS, RUNS
from rml_dashboards.contract.uris import without_secrets
from rml_dashboards.errors import DashboardError
from rml_dashboards.report.content import StudyContent
from rml_dashboards.writing.page import attributes_text, element, escaped

PANELS = ("image", "truth", "prediction")
"""What stands side by side in a recorded picture."""
MOST_ROWS = 8
MOST_IMAGES = 3
MOST_ROWS_LIGHT = 4
MOST_IMAGES_LIGHT = 1
PANEL_PX = 320
"""Widest that a panel is shown."""
QUALITY = 80


def gallery_parts(content: StudyContent, prefix: str) -> list[str]:
    """Pictures that finished runs left in their folders: one line per image, one column per row of
    the table, of the first seed that is done. Without scripts the three panels stand side by
    side."""
    heading = element("h3", "Predictions", id=f"{prefix}predictions")
    shown = _chosen(content)
    found = {row: _pictures(content.storage, run_id) for row, run_id in shown.items()}
    found = {row: pictures for row, pictures in found.items() if pictures}
    most = MOST_IMAGES_LIGHT if content.is_light else MOST_IMAGES
    names = _common_names(list(found.values()))[:most]
    if not names:
        return [heading, element("p", "No run has left pictures in its folder here.")]
    parts = [heading, _told(content, shown, found)]
    for number, name in enumerate(names, start=1):
        own = {row: pictures[name] for row, pictures in found.items() if name in pictures}
        parts += [element("h4", name), *_cards(name, own, f"{prefix}picture{number}-")]
    return parts


def _told(content: StudyContent, shown: dict[str, str], found: dict[str, dict[str, bytes]]) -> str:
    more = sum(1 for row in content.plan.rows if row.columns) - len(found)
    runs = "; ".join(f"{row}: {shown[row]}" for row in found)
    left = f" {more} rows are not shown." if more else ""
    return element("p", f"Under the slider: {', '.join(PANELS)}. Runs: {runs}.{left}")


def _chosen(content: StudyContent) -> dict[str, str]:
    """Row → its first finished run, in the first column that it has one in."""
    most = MOST_ROWS_LIGHT if content.is_light else MOST_ROWS
    chosen: dict[str, str] = {}
    for entry in content.table.cells():
        for trace in entry.traces:
            if trace.state == "done" and not trace.imported and len(chosen) < most:
                chosen.setdefault(entry.row, trace.run_id)
    return chosen


def _common_names(pictures: list[dict[str, bytes]]) -> list[str]:
    """Images by how many rows have them, then in alphabetical order."""
    counts: dict[str, int] = {}
    for own in pictures:
        for name in own:
            counts[name] = counts.get(name, 0) + 1
    return sorted(counts, key=lambda name: (-counts[name], name))


def _pictures(storage: str, run_id: str) -> dict[str, bytes]:
    """Name of an image → its picture, of a run whose folder is there; the first few of them."""
    try:
        where = storage if "://" in storage else str(Path(storage).resolve())
        filesystem, path = fs.FileSystem.from_uri(where)
        folder = f"{path.rstrip('/')}/{RUNS}/{run_id}/{PREDICTIONS}"
        below = fs.FileSelector(folder, allow_not_found=True, recursive=True)
        infos = filesystem.get_file_info(below)
    except (ArrowException, OSError, ValueError) as error:
        raise DashboardError(
            without_secrets(f"pictures below {storage} cannot be read: {error}")
        ) from error
    # Images of sub-folders have their pictures in folders of the same names.
    names = sorted(
        info.path.removeprefix(f"{folder}/") for info in infos if info.base_name.endswith(".png")
    )
    return {
        name.removesuffix(".png"): filesystem.open_input_stream(f"{folder}/{name}").read()
        for name in names[: 2 * MOST_IMAGES]
    }


@dataclass(frozen=True, kw_only=True)
class _Panel:
    """One panel of a picture as a small JPEG."""

    source: str
    width: int
    height: int


def _cards(name: str, pictures: dict[str, bytes], prefix: str) -> Iterator[str]:
    """One card per row. What several rows show alike, the image and its truth, stands in the page
    once."""
    encoded: dict[bytes, _Panel] = {}
    panels = {row: _panels(content, encoded) for row, content in pictures.items()}
    counts = Counter(panel for own in panels.values() if own is not None for panel in own)
    shared = {
        panel: f"{prefix}{number}"
        for number, panel in enumerate(panel for panel in counts if counts[panel] > 1)
    }
    if shared:
        drawn = "".join(_drawn(panel, anchor) for panel, anchor in shared.items())
        yield f'<svg class="shared" aria-hidden="true"><defs>{drawn}</defs></svg>'
    yield '<div class="gallery">'
    for row, own in panels.items():
        yield from _card(row, name, own, shared)
    yield "</div>"


def _card(
    row: str, name: str, panels: tuple[_Panel, ...] | None, shared: dict[_Panel, str]
) -> Iterator[str]:
    """One row's picture of one image: three layers and a slider that uncovers one after another."""
    if panels is None:
        yield f"<figure class='card'>{element('figcaption', f'{row}: not a picture')}</figure>"
        return
    yield '<figure class="card">'
    yield '<div class="layers">'
    for place, panel in zip(PANELS, panels, strict=True):
        yield _layer(place, f"{place} of {name}, {row}", panel, shared.get(panel))
    yield "</div>"
    slider = {"type": "range", "min": 0, "max": 200, "step": 1}
    slider |= {"aria-label": f"image, truth, prediction: {name}, {row}"}
    yield f'<input value="200" class="slider" hidden{attributes_text(slider)}>'
    yield f"<figcaption>{escaped(row)}</figcaption></figure>"


def _layer(place: str, says: str, panel: _Panel, anchor: str | None) -> str:
    size = {"width": panel.width, "height": panel.height, "class": place}
    if anchor is None:
        return (
            f"<img{attributes_text({'src': panel.source, 'alt': says, 'loading': 'lazy', **size})}>"
        )
    about = {"viewBox": f"0 0 {panel.width} {panel.height}", "role": "img", "aria-label": says}
    return f'<svg{attributes_text({**about, **size})}><use href="#{anchor}"/></svg>'


def _drawn(panel: _Panel, anchor: str) -> str:
    own = {"id": anchor, "href": panel.source, "width": panel.width, "height": panel.height}
    return f"<image{attributes_text(own)}/>"


def _panels(content: bytes, encoded: dict[bytes, _Panel]) -> tuple[_Panel, ...] | None:
    """Every panel of a recorded picture, encoded once for all that look the same; None where it is
    no picture."""
    try:
        with Image.open(io.BytesIO(content)) as opened:
            picture = opened.convert("RGB")
    except (UnidentifiedImageError, OSError, ValueError):
        return None
    width = picture.width // len(PANELS)
    if width < 1:
        return None
    panels = []
    for place in range(len(PANELS)):
        panel = picture.crop((place * width, 0, (place + 1) * width, picture.height))
        pixels = panel.tobytes()
        if pixels not in encoded:
            encoded[pixels] = _encoded(panel)
        panels.append(encoded[pixels])
    return tuple(panels)


def _encoded(panel: Image.Image) -> _Panel:
    panel.thumbnail((PANEL_PX, 2 * PANEL_PX))
    stream = io.BytesIO()
    panel.save(stream, format="JPEG", quality=QUALITY)
    source = f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
    return _Panel(source=source, width=panel.width, height=panel.height)
