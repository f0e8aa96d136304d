"""A comparison as one picture: a row per image, a column for image, truth and every run, and a
legend of classes."""

import io
from pathlib import Path

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch

from rml_platform.views.comparison import Comparison, Pixels
from rml_trainers import IGNORE_LABEL
from rml_trainers.configuration import suggest
from rml_trainers.errors import ConfigError
from rml_trainers.prediction.overlays import IGNORE_COLOUR, colour_mask, overlay, palette
from rml_trainers.scoring.score import in_per_cent

KINDS = ("png", "svg", "pdf")
PANEL_INCHES = 2.3
"""Width of one panel."""
MIN_PIXELS_PER_INCH = 150
MAX_PIXELS_PER_INCH = 450
LEGEND_CHARACTERS_PER_INCH = 10


def check_target(path: Path, *, overwrite: bool = False) -> None:
    """Raise ConfigError, before any work is done, for a file whose ending names no kind of picture,
    one that exists already, or a place where none can be."""
    kind = path.suffix.removeprefix(".").lower()
    if kind not in KINDS:
        raise ConfigError(
            f"--to {path}: the file's ending says what kind of picture it is; "
            f"{suggest(kind, KINDS)}"
        )
    if path.is_dir():
        raise ConfigError(f"--to {path}: is a folder; expected the name of a picture")
    if path.exists() and not overwrite:
        raise ConfigError(
            f"--to {path}: exists already; choose another name, or say --overwrite to replace it"
        )
    for folder in path.parents:
        if folder.exists():
            if not folder.is_dir():
                raise ConfigError(f"--to {path}: {folder} is a file; expected a folder")
            break


def write_sheet(comparison: Comparison, path: Path, *, as_overlay: bool = False) -> None:
    """Draw the comparison into a file; `as_overlay` lays the colours over the image."""
    stream = io.BytesIO()
    with style.context({"font.size": 8.0, "svg.hashsalt": "rml"}, after_reset=True):
        figure = draw(comparison, as_overlay=as_overlay)
        figure.savefig(
            stream,
            format=path.suffix.removeprefix(".").lower(),
            bbox_inches="tight",
            pad_inches=0.06,
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(stream.getvalue())


def draw(comparison: Comparison, *, as_overlay: bool) -> Figure:
    """The sheet; ignored pixels are black (in an overlay they keep the image)."""
    colours = palette(len(comparison.class_names))
    headings = [
        "image",
        "truth",
        *(run.label + ("" if run.is_finished else " (unfinished)") for run in comparison.runs),
    ]
    num_rows = len(comparison.images)
    heights = [image.shape[0] / image.shape[1] for image in comparison.images]
    size = (PANEL_INCHES * len(headings), PANEL_INCHES * sum(heights) + 0.22 * num_rows + 1.0)
    widest = max(image.shape[1] for image in comparison.images)
    dpi = float(np.clip(widest / PANEL_INCHES, MIN_PIXELS_PER_INCH, MAX_PIXELS_PER_INCH))
    figure = Figure(
        figsize=size,
        dpi=dpi,
        layout=ConstrainedLayoutEngine(compress=True, h_pad=0.02, w_pad=0.03, hspace=0),
    )
    panels = figure.subplots(
        num_rows, len(headings), squeeze=False, gridspec_kw={"height_ratios": heights}
    )
    for i, (image, truth) in enumerate(zip(comparison.images, comparison.truths, strict=True)):
        _show(panels[i, 0], image, comparison.names[i])
        for panel, mask, score in zip(
            panels[i, 1:],
            (truth, *(run.masks[i] for run in comparison.runs)),
            _scores(comparison, i),
            strict=True,
        ):
            _show(
                panel,
                overlay(image, mask, colours) if as_overlay else colour_mask(mask, colours),
                score,
            )
    for panel, heading in zip(panels[0], headings, strict=True):
        panel.set_title(heading, fontsize=9, wrap=True)
    handles = _legend(comparison, colours, with_ignored=not as_overlay)
    fits = int(
        size[0] * LEGEND_CHARACTERS_PER_INCH / (max(len(str(h.get_label())) for h in handles) + 5)
    )
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=max(1, min(fits, len(handles))),
        frameon=False,
    )
    return figure


def _show(panel: Axes, picture: Pixels, text: str) -> None:
    panel.imshow(picture, interpolation="nearest")
    panel.set_xticks([])
    panel.set_yticks([])
    panel.set_xlabel(text, fontsize=7, color="#444444", labelpad=2)


def _scores(comparison: Comparison, number: int) -> list[str]:
    """Below the truth nothing; below a prediction the mIoU of this image."""
    scores = [run.miou[number] for run in comparison.runs]
    return [
        "",
        *("unscored" if np.isnan(score) else f"mIoU {in_per_cent(score)} %" for score in scores),
    ]


def _legend(comparison: Comparison, colours: Pixels, *, with_ignored: bool) -> list[Patch]:
    """Classes that occur somewhere in the sheet."""
    masks = [*comparison.truths, *(mask for run in comparison.runs for mask in run.masks)]
    present = np.unique(np.concatenate([np.unique(mask) for mask in masks])).tolist()
    shown = [(colours[k].tolist(), comparison.class_names[k]) for k in present if k != IGNORE_LABEL]
    if IGNORE_LABEL in present and with_ignored:
        shown.append((list(IGNORE_COLOUR), "ignored"))
    return [
        Patch(
            facecolor=(red / 255, green / 255, blue / 255),
            edgecolor="#444444",
            linewidth=0.4,
            label=name,
        )
        for (red, green, blue), name in shown
    ]
