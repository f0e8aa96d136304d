"""What a figure shows, whoever draws it: panels of marks, their axes, and a legend.

Curves and diagrams make a `Chart`; `drawing.py` draws it for print, `interactive.py` for a browser.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
INK = "black"
"""Colour of what belongs to no row; a page in dark colours draws it light."""
DIM = "#555555"


def as_values(numbers: Any) -> Values:
    """Numbers of any kind, NaN where there is none."""
    return np.asarray(numbers, dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class Look:
    """How the marks of a row, or of a metric, look."""

    colour: str
    marker: str = ""
    """By matplotlib's names; empty: none."""
    line: str = ""
    """`-`, `--`, `:` or `-.`; empty: points that no line joins."""
    is_open: bool = False
    """Whether only the edge of a marker is drawn."""


@dataclass(frozen=True, kw_only=True)
class Points:
    """Points of one row, joined or not."""

    row: str
    """Marks of a row are shown and hidden together."""
    x: Values
    y: Values
    look: Look
    x_error: Values | None = None
    """Half the length of a bar through each point, NaN for none; so below."""
    y_error: Values | None = None
    is_stepped: bool = False
    """Whether a value holds up to the next x."""
    markers_at: tuple[int, int] = (0, 1)
    """The first point that has a marker, and one in how many."""
    opacity: float = 1.0
    size: float | None = None
    """Of a marker, in points; None: as everywhere."""
    told: tuple[str, ...] = ()
    """What each point is called besides its row."""


@dataclass(frozen=True, kw_only=True)
class Band:
    """The area between two curves of a row."""

    row: str
    x: Values
    low: Values
    high: Values
    colour: str
    opacity: float
    is_stepped: bool = False


@dataclass(frozen=True, kw_only=True)
class Stroke:
    """A plain line that belongs to no row."""

    x: Sequence[float]
    y: Sequence[float]
    colour: str = INK
    width: float = 0.8
    """In points."""


@dataclass(frozen=True, kw_only=True)
class Zero:
    """A line across the panel where y is zero."""


@dataclass(frozen=True, kw_only=True)
class Text:
    """Words beside a point."""

    x: float
    y: float
    text: str
    align: str = "center"
    """Which side of the words is at the point: `left`, `center` or `right`; its lower edge is."""


Mark = Points | Band | Stroke | Zero | Text


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis of a panel."""

    label: str = ""
    limits: tuple[float, float] | None = None
    """Ends, the larger first where the axis runs down; None: what the marks need."""
    is_log: bool = False
    ticks: tuple[tuple[float, str], ...] = ()
    """Places and their names; empty: as many round numbers as fit."""
    most_ticks: int | None = None
    counts: bool = False
    """Whether it counts: its numbers are whole, and thousands are set apart."""
    margin: float | None = None
    """Room at both ends, as a share of the axis."""
    has_grid: bool = True
    is_hidden: bool = False


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One panel of a chart."""

    marks: tuple[Mark, ...]
    x: Axis
    title: str = ""


@dataclass(frozen=True, kw_only=True)
class Key:
    """One entry of the legend."""

    label: str
    look: Look
    row: str = ""
    """The row that it stands for, if it does."""
    is_band: bool = False


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A whole figure."""

    title: str
    panels: tuple[Panel, ...]
    y: Axis
    """Of all panels."""
    legend: tuple[Key, ...] = ()
    height: float | None = None
    """Of a panel, in inches; None: as most figures."""
