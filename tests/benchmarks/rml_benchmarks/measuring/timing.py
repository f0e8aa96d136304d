"""Times callables against each other in one run: interleaved rounds, medians, ratios paired by
round.

Seconds of two runs on a shared machine cannot be compared; the ratio of two things timed in
alternation can. Nothing is asserted about time.
"""

import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from rml_benchmarks.measuring.tables import TableText, readable_bytes, readable_seconds

MAX_SETTLING_ROUNDS = 10
MAX_SETTLING_S = 60.0
FEW_PAGES = 1000
"""4 MiB: what a round may still add to the memory of the process when it has settled."""

Call = Callable[[int], object]
"""Does the work of one round; the round's number picks the inputs, so that all contenders get the
same ones."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of one call of a contender beside its time; None where it is not."""

    images: int | None = None
    """Images that it works through."""
    flops: int | None = None
    """Floating-point operations of its matrix products and convolutions."""
    peak_bytes: int | None = None
    """Largest memory that it held at any moment, its networks included."""
    target: str | None = None
    """What its ratio should be."""


@dataclass(frozen=True, kw_only=True)
class Yardstick:
    """Work of known size, timed in every round like the contenders: how fast the machine was just
    then."""

    name: str
    call: Call
    flops: int


@dataclass(frozen=True, kw_only=True)
class Timing:
    """One contender over all rounds."""

    name: str
    median_s: float
    lower_s: float
    """Lower quartile; `upper_s` the upper one."""
    upper_s: float
    ratio: float
    """Median over the rounds of this contender's time divided by the first contender's in the same
    round."""
    ratio_range: tuple[float, float]
    """Quartiles of that quotient."""
    facts: Facts = Facts()
    images_per_s: float | None = None
    of_yardstick: float | None = None
    """Its rate of floating-point operations divided by the yardstick's in the same round,
    median."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One table of a benchmark: contenders that do comparable work; the first is what the others
    are divided by."""

    title: str
    timings: tuple[Timing, ...]
    num_rounds: int
    note: str = ""
    yardstick: str | None = None
    """What `of_yardstick` is a share of, with its rate."""

    def ratio(self, name: str) -> float:
        """Of the contender with this name, to the first one."""
        return next(timing.ratio for timing in self.timings if timing.name == name)

    def seconds(self, name: str) -> float:
        """Median of the contender with this name."""
        return next(timing.median_s for timing in self.timings if timing.name == name)

    def markdown(self) -> str:
        """Markdown table; columns about which nothing is known are left out."""
        spread = [
            f"{readable_seconds(t.lower_s)} – {readable_seconds(t.upper_s)}" for t in self.timings
        ]
        ratio = [
            f"{t.ratio:.3g} ({t.ratio_range[0]:.3g} – {t.ratio_range[1]:.3g})" for t in self.timings
        ]
        table = TableText()
        table.column("", [t.name for t in self.timings])
        table.column("median", [readable_seconds(t.median_s) for t in self.timings])
        table.column("quartiles", spread)
        table.column(f"× {self.timings[0].name}", ratio)
        table.column("target", [t.facts.target for t in self.timings])
        table.column("images/s", [_known(t.images_per_s, "{:.3g}".format) for t in self.timings])
        table.column(
            "peak memory", [_known(t.facts.peak_bytes, readable_bytes) for t in self.timings]
        )
        table.column(
            "GFLOP",
            [_known(t.facts.flops, lambda count: f"{count / 1e9:.3g}") for t in self.timings],
        )
        table.column(
            "of matrix product", [_known(t.of_yardstick, "{:.0%}".format) for t in self.timings]
        )
        notes = [note for note in (self.note, self.yardstick) if note]
        return table.markdown(self.title, notes, after_title=f" ({self.num_rounds} rounds)")


def compare(
    title: str,
    contenders: Mapping[str, Call],
    *,
    num_rounds: int,
    num_warm_up: int = 2,
    settle: bool = False,
    facts: Mapping[str, Facts] | None = None,
    yardstick: Yardstick | None = None,
    note: str = "",
    clock: Callable[[], float] = time.perf_counter,
) -> Comparison:
    """Time every contender once per round, in an order that rotates, after warm-up rounds that do
    not count.

    `settle`: warm up for longer while the process still grows. The system clears every page that a
    process gets for the first time, and where contenders share a heap it takes several rounds until
    all of them find what they need in it: steps of the small setting took up to 40 % longer until
    then (measured, glibc 2.36).
    """
    calls = dict(contenders)
    if yardstick is not None:
        calls[yardstick.name] = yardstick.call
    names = list(calls)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for index in range(num_warm_up):
        _round(calls, index, clock)
    if settle:
        _settle(calls, clock)
    for index in range(num_warm_up, num_warm_up + num_rounds):
        for name, elapsed in _round(calls, index, clock).items():
            seconds[name].append(elapsed)
    rates = None if yardstick is None else [yardstick.flops / s for s in seconds[yardstick.name]]
    known = facts or {}
    baseline = seconds[names[0]]
    return Comparison(
        title=title,
        timings=tuple(
            _timing(name, seconds[name], baseline, known.get(name, Facts()), rates)
            for name in contenders
        ),
        num_rounds=num_rounds,
        note=note,
        yardstick=_described(yardstick, rates),
    )


def _round(calls: Mapping[str, Call], index: int, clock: Callable[[], float]) -> dict[str, float]:
    names = list(calls)
    start = index % len(calls)
    return {name: _time_once(calls[name], index, clock) for name in names[start:] + names[:start]}


def _settle(calls: Mapping[str, Call], clock: Callable[[], float]) -> None:
    begin = clock()
    for index in range(MAX_SETTLING_ROUNDS):
        before = _new_pages()
        _round(calls, index, clock)
        if _new_pages() - before < FEW_PAGES or clock() - begin > MAX_SETTLING_S:
            return


def _new_pages() -> int:
    """How many pages this process has been given so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def _time_once(call: Call, index: int, clock: Callable[[], float]) -> float:
    _wait_for_device()
    begin = clock()
    call(index)
    _wait_for_device()
    return clock() - begin


def _wait_for_device() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _timing(
    name: str,
    seconds: Sequence[float],
    baseline: Sequence[float],
    facts: Facts,
    rates: Sequence[float] | None,
) -> Timing:
    lower, median, upper = quartiles(seconds)
    low_ratio, ratio, high_ratio = quartiles(
        [s / b for s, b in zip(seconds, baseline, strict=True)]
    )
    share = None
    if rates is not None and facts.flops is not None:
        share = statistics.median(
            facts.flops / s / rate for s, rate in zip(seconds, rates, strict=True)
        )
    return Timing(
        name=name,
        median_s=median,
        lower_s=lower,
        upper_s=upper,
        ratio=ratio,
        ratio_range=(low_ratio, high_ratio),
        facts=facts,
        images_per_s=None if facts.images is None else facts.images / median,
        of_yardstick=share,
    )


def _described(yardstick: Yardstick | None, rates: Sequence[float] | None) -> str | None:
    if yardstick is None or rates is None:
        return None
    lower, median, upper = (rate / 1e9 for rate in quartiles(rates))
    return f"{yardstick.name}: {median:.3g} GFLOP/s ({lower:.3g} – {upper:.3g})."


def _known(value: float | None, text: Callable[[float], str]) -> str | None:
    return None if value is None else text(value)


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile; of a single value that value thrice."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
    return lower, median, upper
