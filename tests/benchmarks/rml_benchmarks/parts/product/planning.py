"""`python -m rml_benchmarks plan`: what the commands around a study take before and beside the
training: `rml --help`, `plan`, `status` and `tables` of a small study and of one of thousands of
cells, and what follows for each further cell.

Every call is a process of its own, as a person starts it. The smallest of several calls is shown:
whatever else the machine does can only lengthen one.
"""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rml_benchmarks.measuring.publishing import Result
from rml_benchmarks.measuring.tables import Table
from rml_benchmarks.part import Bench
from rml_benchmarks.parts.product.recorded_study import half_done

SHAPES = {20: (2, 2, 5), 2000: (10, 10, 20)}
"""Cells of a study → its rows, columns and seeds."""
COMMANDS = {
    "plan": ("plan", "{study}", "--out", "{out}"),
    "status": ("status", "{study}", "--out", "{out}"),
    "tables, from run folders": (
        *("tables", "{study}", "--out", "{out}"),
        *("--tracking-uri", "none"),
    ),
}
HELP = ("--help",)


@dataclass(frozen=True)
class Cost:
    """Time that a process took."""

    wall_s: float
    cpu_s: float


def run(bench: Bench) -> Iterator[Result]:
    """The commands on both studies, and what a further cell adds to each."""
    num_rounds = bench.num_rounds(3)
    places = {
        cells: half_done(bench.folder / f"cells-{cells}", shape) for cells, shape in SHAPES.items()
    }
    help_costs = [process(HELP) for _ in range(num_rounds)]
    rows: list[tuple[str, ...]] = [("--help", *_shown(_least(help_costs)))]
    for name, words in COMMANDS.items():
        costs = {
            cells: _least([process(_filled(words, place)) for _ in range(num_rounds)])
            for cells, place in places.items()
        }
        small, large = costs.values()
        further = max(SHAPES) - min(SHAPES)
        per_cell = 1000 * (large.cpu_s - small.cpu_s) / further
        rows.append((name, *_shown(small), *_shown(large), f"{per_cell:.2g} ms"))
    yield Table(
        title=f"Commands around a study of {' and of '.join(map(str, SHAPES))} cells",
        columns=(
            "rml …",
            "wall",
            "CPU",
            "wall, large study",
            "CPU, large study",
            "CPU per further cell",
        ),
        rows=tuple(_padded(row) for row in rows),
        note=f"Least of {num_rounds} calls, each a process of its own.",
    )


def process(words: Sequence[str]) -> Cost:
    """Time of `rml` with these words."""
    command = [sys.executable, "-c", "from rml_platform.cli import main; main()", *words]
    begin = time.perf_counter()
    nothing = os.open(os.devnull, os.O_WRONLY)
    pid = os.posix_spawn(
        sys.executable,
        command,
        dict(os.environ),
        file_actions=[(os.POSIX_SPAWN_DUP2, nothing, 1), (os.POSIX_SPAWN_DUP2, nothing, 2)],
    )
    _, status, used = os.wait4(pid, 0)
    os.close(nothing)
    assert status == 0, f"rml {' '.join(words)} failed"
    wall_s = time.perf_counter() - begin
    return Cost(wall_s, used.ru_utime + used.ru_stime)


def _filled(words: Sequence[str], study: Path) -> list[str]:
    return [word.format(study=study, out=study.parent / "out") for word in words]


def _least(costs: Sequence[Cost]) -> Cost:
    return min(costs, key=lambda cost: cost.cpu_s)


def _shown(cost: Cost) -> tuple[str, str]:
    return f"{cost.wall_s:.2f} s", f"{cost.cpu_s:.2f} s"


def _padded(row: Sequence[str]) -> tuple[str, ...]:
    return (*row, *[""] * (6 - len(row)))
