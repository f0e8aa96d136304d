"""Who is called when, what is divided by what, and what a table shows of it. With a clock of the
test's own."""

import itertools
from collections.abc import Callable

import pytest

from rml_benchmarks.measuring import timing
from rml_benchmarks.measuring.timing import Comparison, Facts, Yardstick, compare, quartiles


class FakeTime:
    """Seconds that pass only while a contender works."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[tuple[str, int]] = []

    def contender(self, name: str, seconds: Callable[[int], float]) -> Callable[[int], None]:
        def call(index: int) -> None:
            self.calls.append((name, index))
            self.now += seconds(index)

        return call

    def clock(self) -> float:
        return self.now


def test_contenders_alternate_and_warm_up_does_not_count() -> None:
    time = FakeTime()
    contenders = {
        "a": time.contender("a", lambda index: 100.0 if index == 0 else 1.0),
        "b": time.contender("b", lambda index: 3.0),
    }
    comparison = compare("t", contenders, num_rounds=2, num_warm_up=1, clock=time.clock)
    assert time.calls == [("a", 0), ("b", 0), ("b", 1), ("a", 1), ("a", 2), ("b", 2)]
    assert [(t.name, t.median_s, t.ratio) for t in comparison.timings] == [
        ("a", 1.0, 1.0),
        ("b", 3.0, 3.0),
    ]
    assert (comparison.ratio("b"), comparison.seconds("b")) == (3.0, 3.0)


@pytest.mark.parametrize(
    ("pages", "num_rounds"), [([0, 10_000, 10_000, 30_000, 30_000, 30_001], 3), ([0, 0], 1)]
)
def test_warm_up_lasts_while_the_process_grows(
    pages: list[int], num_rounds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    time = FakeTime()
    told = iter(pages)
    monkeypatch.setattr(timing, "_new_pages", lambda: next(told))
    contenders = {"a": time.contender("a", lambda index: 1.0)}
    assert (
        compare(
            "t", contenders, num_rounds=2, num_warm_up=1, settle=True, clock=time.clock
        ).num_rounds
        == 2
    )
    assert len(time.calls) == 1 + num_rounds + 2


@pytest.mark.parametrize(("seconds", "num_rounds"), [(1.0, timing.MAX_SETTLING_ROUNDS), (100.0, 1)])
def test_settling_ends(seconds: float, num_rounds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where every round takes new memory, or a long time."""
    time = FakeTime()
    pages = itertools.count(0, 5 * timing.FEW_PAGES)
    monkeypatch.setattr(timing, "_new_pages", lambda: next(pages))
    compare(
        "t",
        {"a": time.contender("a", lambda index: seconds)},
        num_rounds=1,
        num_warm_up=0,
        settle=True,
        clock=time.clock,
    )
    assert len(time.calls) == num_rounds + 1


def test_ratio_is_paired_by_round() -> None:
    """A machine that slows down tenfold half-way changes the medians, not the ratio."""
    time = FakeTime()
    load = [1.0, 1.0, 10.0, 10.0, 10.0]
    contenders = {
        "a": time.contender("a", lambda index: load[index]),
        "b": time.contender("b", lambda index: 2 * load[index]),
    }
    a, b = compare("t", contenders, num_rounds=5, num_warm_up=0, clock=time.clock).timings
    assert (b.ratio, b.ratio_range) == (2.0, (2.0, 2.0))
    assert (a.lower_s, a.median_s, a.upper_s) == (1.0, 10.0, 10.0)


def with_facts() -> Comparison:
    """The machine is five times slower in the first of three rounds; the yardstick is called like
    the others."""
    time = FakeTime()
    load = [5.0, 1.0, 1.0]
    contenders = {
        name: time.contender(name, lambda index: 2 * load[index]) for name in ("known", "unknown")
    }
    yardstick = Yardstick(
        name="Matrices", call=time.contender("y", lambda index: load[index]), flops=4_000_000_000
    )
    facts = {"known": Facts(images=8, flops=6_000_000_000, peak_bytes=1_500_000_000, target="≤ 2")}
    comparison = compare(
        "t",
        contenders,
        num_rounds=3,
        num_warm_up=0,
        facts=facts,
        yardstick=yardstick,
        note="Why.",
        clock=time.clock,
    )
    assert [name for name, _ in time.calls].count("y") == 3
    return comparison


def test_rates_are_those_of_the_same_round() -> None:
    known, unknown = with_facts().timings
    assert (known.images_per_s, known.of_yardstick) == (4.0, 0.75)
    assert (unknown.images_per_s, unknown.of_yardstick) == (None, None)


def test_a_table_shows_what_is_known() -> None:
    lines = with_facts().markdown().splitlines()
    assert lines[0] == "**t** (3 rounds)"
    assert lines[2] == (
        "| | median | quartiles | × known | target | images/s | peak memory | GFLOP | of matrix "
        "product |"
    )
    assert lines[4].endswith("| 1 (1 – 1) | ≤ 2 | 4 | 1.5 GB | 6 | 75% |")
    assert lines[5].endswith("| 1 (1 – 1) | | | | | |")
    assert lines[6:] == ["", "Why.", "", "Matrices: 4 GFLOP/s (2.4 – 4)."]


def test_a_column_about_which_nothing_is_known_is_left_out() -> None:
    time = FakeTime()
    comparison = compare(
        "t", {"a": time.contender("a", lambda index: 1.0)}, num_rounds=1, clock=time.clock
    )
    assert comparison.markdown().splitlines()[2] == "| | median | quartiles | × a |"


@pytest.mark.parametrize(
    ("values", "expected"), [([5.0], (5.0, 5.0, 5.0)), ([1.0, 2.0, 3.0, 4.0, 5.0], (2.0, 3.0, 4.0))]
)
def test_quartiles(values: list[float], expected: tuple[float, float, float]) -> None:
    assert quartiles(values) == expected
