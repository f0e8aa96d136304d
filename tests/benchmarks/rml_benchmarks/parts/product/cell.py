"""`python -m rml_benchmarks cell`: what a cell costs beyond its training, with `execution: train`
and `direct`, against a bare loop.

Every contender trains the same tiny runs one after the other (no two at a time, so that nothing
hides behind something else). A launch also starts Ray, MLflow's database and the live view; a
launch of one cell shows that fixed part, and the difference to a launch of more cells is what each
further cell costs.
"""

import io
import itertools
from collections.abc import Iterator
from pathlib import Path

import torch
from rich.console import Console

from rml_benchmarks.measuring.publishing import Result
from rml_benchmarks.measuring.tables import Table
from rml_benchmarks.measuring.timing import Call, Comparison, compare
from rml_benchmarks.part import Bench
from rml_platform.launch.launch import launch
from rml_platform.launch.output_layout import OutputLayout
from rml_platform.planning.plan import Plan, make_plan
from rml_platform.study.schema import load_study
from rml_trainers.config import RunConfig
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.data.splitting.splits import Split
from rml_trainers.scoring.score import Evaluation
from rml_trainers.training.reporting import MemoryReporter
from rml_trainers.training.trainer import Trainer

NUM_CELLS = 3
EXECUTIONS = ("direct", "train")
STUDY = """
name: bench_cell
execution: {execution}
base:
  data: {{name: scenes, size_px: [32, 48], num_train: 10, num_val: 3}}
  split: {{num_labelled: 4}}
  method: {{name: rml, min_cells: 1}}
  network: {{backbone: test_resnet, weights: none}}
  geometry: {{crop_px: [24, 32]}}
  batch: {{labelled: 2, unlabelled: 2}}
  schedule: {{warm_up_steps: 10, stage_steps: [10]}}
seeds: [{seeds}]
"""


class Cells:
    """Launches of ever new cells, so that no launch finds its work done."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seeds = itertools.count(step=NUM_CELLS)

    def plan(self, execution: str, num_cells: int) -> Plan:
        """A plan of cells that no earlier call has trained."""
        first = next(self._seeds)
        file = self._folder / f"{execution}-{num_cells}-{first}.yaml"
        seeds = ", ".join(str(first + i) for i in range(num_cells))
        file.write_text(STUDY.format(execution=execution, seeds=seeds))
        return make_plan(load_study(file), data_root=None, cache_root=self._folder / "cache")

    def bare(self, index: int) -> None:
        """All cells in a loop in this process."""
        for run in self.plan("direct", NUM_CELLS).runs:
            work_dir = self._folder / "work" / run.run_id
            train_bare(run.config, run.split, run.prepared_folder, work_dir)

    def launched(self, execution: str, num_cells: int) -> Call:
        """The same through `launch`."""

        def carry_out(index: int) -> None:
            layout = OutputLayout(root=self._folder / "out", storage=str(self._folder / "out"))
            console = Console(file=io.StringIO())
            plan = self.plan(execution, num_cells)
            report = launch(plan, layout=layout, data_root=None, max_concurrent=1, console=console)
            assert len(report.done) == num_cells, report

        return carry_out


def train_bare(
    config: RunConfig, split: Split, prepared_folder: Path, work_dir: Path
) -> tuple[Evaluation, ...]:
    """Train a cell in this process with nothing around it."""
    work_dir.mkdir(parents=True)
    trainer = Trainer(
        config,
        PreparedData.open(prepared_folder),
        split,
        device=torch.device("cpu"),
        reporter=MemoryReporter(),
        work_dir=work_dir,
    )
    return trainer.fit()


def run(bench: Bench) -> Iterator[Result]:
    """Launches of one and of several cells, and what follows for a further cell."""
    folder = bench.folder / "cells"
    folder.mkdir()
    cells = Cells(folder)
    bare = f"bare loop, {NUM_CELLS} cells"
    calls: dict[str, Call] = {bare: cells.bare}
    for execution in EXECUTIONS:
        calls[f"{execution}, {NUM_CELLS} cells"] = cells.launched(execution, NUM_CELLS)
        calls[f"{execution}, 1 cell"] = cells.launched(execution, 1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as many as a cell that gets one core
    cells.launched("direct", 1)(0)  # libraries and MLflow's tables are loaded and made once
    comparison = compare(
        "Cells one after the other", calls, num_rounds=bench.num_rounds(1), num_warm_up=0
    )
    torch.set_num_threads(threads)
    yield comparison
    yield further_cells(comparison, comparison.seconds(bare) / NUM_CELLS)


def further_cells(comparison: Comparison, bare_s: float) -> Table:
    """What each cell after the first adds, beside `bare_s` for its training alone."""
    rows = []
    for execution in EXECUTIONS:
        one = comparison.seconds(f"{execution}, 1 cell")
        each = (comparison.seconds(f"{execution}, {NUM_CELLS} cells") - one) / (NUM_CELLS - 1)
        rows.append((execution, each, each - bare_s, each / bare_s, one - each))
    return Table(
        title="Cost of a further cell",
        columns=(
            "execution",
            "each (s)",
            "beyond training (s)",
            "× a bare cell",
            "the launch itself (s)",
        ),
        rows=tuple(rows),
    )
