"""Curves with as many points as a screen can show."""

from collections import Counter
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from rml_dashboards.figures.curves import Curve, FilledFigure

MOST_POINTS = 200
"""Points of a curve: its panel is some 300 to 400 pixels wide."""
MOST_IN_PANEL = 1200
"""Points of all curves of a panel; where there are many they hide each other."""
FEWEST_POINTS = 60


def thinned(figure: FilledFigure) -> FilledFigure:
    """The figure with fewer points of each curve, the more curves its panel has; the lowest and
    the highest of what is left out are kept, so that no peak is lost."""
    in_panel = Counter(curve.column for curve in figure.curves)
    curves = tuple(_thin(curve, most_points(in_panel[curve.column])) for curve in figure.curves)
    return replace(figure, curves=curves)


def most_points(num_curves: int) -> int:
    """Points of each of so many curves in a panel."""
    return int(np.clip(MOST_IN_PANEL // num_curves, FEWEST_POINTS, MOST_POINTS))


def _thin(curve: Curve, most: int) -> Curve:
    kept = kept_places(curve.mean, most)
    return replace(curve, x=curve.x[kept], mean=curve.mean[kept], std=curve.std[kept])


def kept_places(values: npt.NDArray[np.float64], most: int) -> npt.NDArray[np.int64]:
    """Of a long curve both ends, and of each of equal stretches between them the lowest and the
    highest value; all places of one that has no more points than `most`."""
    if len(values) <= most:
        return np.arange(len(values))
    num_stretches = most // 2 - 1
    inner = values[1:-1]
    length = -(-len(inner) // num_stretches)
    spare = num_stretches * length - len(inner)
    stretches = np.pad(inner, (0, spare), mode="edge").reshape(num_stretches, length)
    starts = 1 + length * np.arange(num_stretches)
    places = [starts + stretches.argmin(axis=1), starts + stretches.argmax(axis=1)]
    inside = np.minimum(np.concatenate(places), len(values) - 2)
    return np.unique(np.concatenate([[0, len(values) - 1], inside])).astype(np.int64)
