"""Curves keep what a screen shows, peaks among it."""

import numpy as np
import pytest

from rml_dashboards.figures.thinning import (
    FEWEST_POINTS,
    MOST_IN_PANEL,
    MOST_POINTS,
    most_points,
)
from rml_dashboards.statistics.thinning import kept_places


@pytest.mark.parametrize("num", [61, 62, 119, 1000, 4321])
def test_ends_and_peaks_are_kept(num: int) -> None:
    values = np.sin(np.arange(num) / 30)
    values[[num // 3, num // 2]] = (9.0, -9.0)
    places = kept_places(values, 60)
    assert len(places) <= 60
    assert [places[0], places[-1]] == [0, num - 1]
    assert {num // 3, num // 2} <= set(places.tolist())
    assert (np.diff(places) > 0).all()


def test_a_short_curve_is_kept_whole() -> None:
    assert kept_places(np.zeros(60), 60).tolist() == list(range(60))
    assert kept_places(np.zeros(0), 60).tolist() == []


def test_many_curves_of_a_panel_have_fewer_points_each() -> None:
    assert [most_points(num) for num in (1, 6, 10, 24)] == [MOST_POINTS, MOST_POINTS, 120, 60]
    assert 10 * most_points(10) <= MOST_IN_PANEL
    assert most_points(1000) == FEWEST_POINTS
