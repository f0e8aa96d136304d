"""Times callables against each other in one run: interleaved rounds, medians, ratios paired by round.

Seconds of two runs on a shared machine cannot be compared; the ratio of two things timed in alternation can. Nothing is
asserted about time.
"""

import argparse
import dataclasses
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
Call = Callable[[int], object]
"""Does the work of one round; the round's number picks the inputs, so that all contenders get the same ones."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """One contender over all rounds."""

    name: str
    median_s: float
    lower_s: float
    """Lower quartile; `upper_s` the upper one."""
    upper_s: float
    ratio: float
    """Median over the rounds of this contender's time divided by the first contender's in the same round."""
    ratio_range: tuple[float, float]
    """Quartiles of that quotient."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where and when a benchmark ran, and of which code."""

    cpu: str
    cores: int
    """Cores that this process may use."""
    threads: int
    """torch's CPU threads."""
    device: str
    python: str
    torch: str
    date: str
    commit: str

    def __str__(self) -> str:
        parts = [self.cpu, f"{self.cores} cores, {self.threads} torch threads", self.device]
        return " · ".join([*parts, f"Python {self.python}", f"torch {self.torch}", self.date, f"commit {self.commit}"])


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One table of a benchmark: contenders that do the same work; the first is what the others are divided by."""

    title: str
    timings: tuple[Timing, ...]
    num_rounds: int
    note: str = ""

    def markdown(self) -> str:
        lines = [f"**{self.title}** ({self.num_rounds} rounds)", ""]
        lines += [f"| | median | quartiles | × {self.timings[0].name} |", "| --- | --- | --- | --- |"]
        for t in self.timings:
            spread = f"{readable(t.lower_s)} – {readable(t.upper_s)}"
            ratio = f"{t.ratio:.3g} ({t.ratio_range[0]:.3g} – {t.ratio_range[1]:.3g})"
            lines.append(f"| {t.name} | {readable(t.median_s)} | {spread} | {ratio} |")
        return "\n".join([*lines, *(["", self.note] if self.note else [])])


def compare(
    title: str,
    contenders: Mapping[str, Call],
    *,
    num_rounds: int,
    num_warm_up: int = 2,
    note: str = "",
    clock: Callable[[], float] = time.perf_counter,
) -> Comparison:
    """Time every contender once per round, in an order that rotates, after warm-up rounds that do not count."""
    names = list(contenders)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for index in range(num_warm_up + num_rounds):
        start = index % len(names)
        for name in names[start:] + names[:start]:
            elapsed = _time_once(contenders[name], index, clock)
            if index >= num_warm_up:
                seconds[name].append(elapsed)
    timings = tuple(_timing(name, seconds[name], seconds[names[0]]) for name in names)
    return Comparison(title=title, timings=timings, num_rounds=num_rounds, note=note)


def _time_once(call: Call, index: int, clock: Callable[[], float]) -> float:
    _wait_for_device()
    begin = clock()
    call(index)
    _wait_for_device()
    return clock() - begin


def _wait_for_device() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _timing(name: str, seconds: Sequence[float], baseline: Sequence[float]) -> Timing:
    lower, median, upper = quartiles(seconds)
    low_ratio, ratio, high_ratio = quartiles([s / b for s, b in zip(seconds, baseline, strict=True)])
    return Timing(
        name=name, median_s=median, lower_s=lower, upper_s=upper, ratio=ratio, ratio_range=(low_ratio, high_ratio)
    )


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile; of a single value that value thrice."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
    return lower, median, upper


def readable(seconds: float) -> str:
    """`3.21 ms`: three figures and a fitting unit."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if seconds * factor >= 1 or unit == "µs":
            return f"{seconds * factor:.3g} {unit}"
    raise AssertionError("unreachable: microseconds take everything")


def this_machine() -> Machine:
    """The facts that belong beside every figure."""
    return Machine(
        cpu=_cpu_name(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        device=torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU",
        python=platform.python_version(),
        torch=torch.__version__,
        date=datetime.now(UTC).date().isoformat(),
        commit=_commit(),
    )


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def _commit() -> str:
    """Short hash, with `+ changes` when tracked files differ from it; `unknown` outside a checkout."""

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True).stdout

    try:
        changed = git("status", "--porcelain", "--untracked-files=no").strip()
        return git("rev-parse", "--short", "HEAD").strip() + (" + changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def parser(description: str, *, num_rounds: int) -> argparse.ArgumentParser:
    """Options that every benchmark has."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--rounds", type=int, default=num_rounds, help="timed rounds (default %(default)s)")
    options.add_argument("--threads", type=int, default=None, help="torch's CPU threads (default: torch's own)")
    options.add_argument("--json", type=Path, help="also write the figures to this file")
    options.add_argument("--markdown", type=Path, help="also append the tables to this file")
    return options


def publish(title: str, comparisons: Sequence[Comparison], options: argparse.Namespace) -> None:
    """Print the dated tables with the machine line, and write what the options ask for."""
    machine = this_machine()
    text = "\n\n".join([f"## {title}, {machine.date}", str(machine), *(c.markdown() for c in comparisons)]) + "\n"
    print(text)
    if options.markdown is not None:
        with options.markdown.open("a", encoding="utf-8") as file:
            file.write(f"{text}\n")
    if options.json is not None:
        figures = [dataclasses.asdict(comparison) for comparison in comparisons]
        document = {"title": title, "machine": dataclasses.asdict(machine), "comparisons": figures}
        options.json.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
