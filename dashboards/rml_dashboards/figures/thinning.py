"""Curves with as many points as a screen can show."""

from collections import Counter
from dataclasses import replace

import numpy as np

from rml_dashboards.figures.curves import Curve, FilledFigure
from rml_dashboards.statistics.thinning import kept_places

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
