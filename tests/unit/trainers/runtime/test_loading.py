"""How often Python looks for cycles."""

import gc
from collections.abc import Iterator

import pytest

from rml_trainers.runtime.loading import SELDOM, look_as_usual_for_cycles, look_seldom_for_cycles


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


def test_cycles_are_looked_for_seldom_and_then_as_usual() -> None:
    look_as_usual_for_cycles()
    usual = gc.get_threshold()
    look_seldom_for_cycles()
    assert gc.get_threshold() == SELDOM
    assert SELDOM[0] > 10 * usual[0]
    look_as_usual_for_cycles()
    assert gc.get_threshold() == usual
    assert gc.isenabled()
