"""How every figure looks: colours that colour-blind eyes can tell apart, markers and lines that
survive a grey printer, and text that can be read at the width of a column."""

import io
from collections.abc import Callable, Sequence
from typing import Any

from matplotlib import style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from rml_dashboards.figures.chart import Look

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito (2008) without yellow, which nobody sees on white paper."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<")
LINE_STYLES = ("-", "--", ":", "-.")
"""Seven colours, four dashes, nine markers: their numbers have no common divisor, so each goes
round on its own. Colour and dash together name 28 rows, dash and marker, which a grey print keeps,
36; of points that no line joins colour and marker name 63, and in grey the marker, filled or open,
and how dark it is, 36."""
MARKERS_PER_CURVE = 8
BAND_OPACITY = 0.18
BANDS_AT_FULL_OPACITY = 4
"""More bands than these in one panel get fainter, so that the lines stay the first thing seen."""
COLUMN_INCHES = 3.5
"""Width of one panel: that of a column of a two-column paper, so that its text stands there in the
size below. Two panels are as wide as a page."""
PANEL_INCHES = (COLUMN_INCHES, 2.5)
"""Width and height of one panel with its labels, without title and legend."""
PANELS_IN_A_LINE = 2
TITLE_INCHES = 0.3
LEGEND_LINE_INCHES = 0.17
LEGEND_CHARACTERS_PER_INCH = 17
LEGEND_HANDLE_CHARACTERS = 9
PIXELS_PER_INCH = 320
SMALL_POINTS = 7.5
SMALLEST_POINTS = 7.0
"""No text is smaller."""
METADATA: dict[str, dict[str, Any]] = {
    "svg": {"Date": None},
    "png": {},
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
}
"""Kind of file → what makes its bytes depend on nothing but the figure."""
STYLE = {
    "font.size": 8.0,
    "axes.titlesize": 8.0,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.6,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "lines.linewidth": 1.3,
    "lines.markersize": 3.8,
    "svg.hashsalt": "rml",
    "text.parse_math": False,
    "pdf.fonttype": 42,
}
"""Laid over matplotlib's own defaults, whatever a person's matplotlibrc says; the salt gives SVG
elements fixed ids."""


class ShownFigure(Figure):
    """A figure that a notebook shows as a picture, whichever backend is at work."""

    def _repr_png_(self) -> bytes:
        return encoded(self, "png")


def encoded(figure: Figure, kind: str) -> bytes:
    """A figure as the bytes of a file; the same figure gives the same bytes, wherever it was drawn
    (ids in SVG and fonts in PDF go by the style at the time of writing)."""
    stream = io.BytesIO()
    with style.context(STYLE, after_reset=True):
        if kind == "svg":  # savefig draws a figure once more, only to lay it out
            canvas: Any = FigureCanvasSVG(figure)
            canvas.print_svg(stream, metadata=METADATA[kind])
        else:
            figure.savefig(stream, format=kind, metadata=METADATA[kind])
    return stream.getvalue()


def in_style(draw: Callable[[], Figure]) -> Figure:
    """A figure in the style of all others, whatever a person's matplotlibrc says."""
    with style.context(STYLE, after_reset=True):
        return draw()


def pictures_of(draw: Callable[[], Figure]) -> dict[str, bytes]:
    """The figure as `svg`, `png` and `pdf`."""
    with style.context(STYLE, after_reset=True):
        drawn = draw()
        drawn.draw_without_rendering()
        drawn.set_layout_engine("none")  # laid out once, not for each kind
        return {kind: encoded(drawn, kind) for kind in METADATA}


def framed(
    num_panels: int, title: str, handles: Sequence[Artist] = (), *, height: float = PANEL_INCHES[1]
) -> tuple[Figure, list[Axes]]:
    """Panels side by side, as many in a line as fit a page, with a title above and a legend below.

    Args:
        height: of a panel, in inches.
    """
    across = min(num_panels, PANELS_IN_A_LINE)
    down = -(-num_panels // across)
    width = PANEL_INCHES[0] * across
    columns = num_legend_columns(handles, width)
    lines = -(-len(handles) // columns)
    total = down * height + TITLE_INCHES + LEGEND_LINE_INCHES * lines
    figure = ShownFigure(figsize=(width, total), dpi=PIXELS_PER_INCH, layout="constrained")
    axes = list(figure.subplots(down, across, sharey=True, squeeze=False).flat)
    for spare in axes[num_panels:]:
        spare.remove()
    figure.suptitle(title, fontsize=9, wrap=True)
    if handles:
        figure.legend(handles=list(handles), loc="outside lower center", ncols=columns)
    return figure, axes[:num_panels]


def row_look(place: int, *, is_joined: bool, line: str | None = None) -> Look:
    """How the row at a place looks, the same in every figure.

    Args:
        is_joined: whether a line joins its points.
        line: the line's style where it says something else than which row it is.
    """
    own_line = LINE_STYLES[place % len(LINE_STYLES)] if line is None else line
    return Look(
        colour=COLOURS[place % len(COLOURS)],
        marker=MARKERS[place % len(MARKERS)],
        line=own_line if is_joined else "",
        is_open=place // len(MARKERS) % 2 == 1,
    )


def band_opacity(num_bands: int) -> float:
    """Of each of so many bands in one panel."""
    return BAND_OPACITY * min(1.0, BANDS_AT_FULL_OPACITY / max(1, num_bands))


def num_legend_columns(handles: Sequence[Artist], width: float) -> int:
    """As many as fit under a figure of that width in inches; a long label takes a line of its
    own."""
    lengths = [len(str(handle.get_label())) for handle in handles]
    longest = max(lengths, default=1) + LEGEND_HANDLE_CHARACTERS
    return max(1, min(int(width * LEGEND_CHARACTERS_PER_INCH / longest), len(handles)))
