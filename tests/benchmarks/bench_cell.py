"""What a cell costs beyond its training: `execution: train` and `direct` against a bare loop over the same cells.

    python tests/benchmarks/bench_cell.py

Every contender trains the same tiny runs one after the other (no two at a time, so that nothing hides behind something
else). A launch also starts Ray, MLflow's database and the live view; a launch of one cell shows that fixed part, and
the difference to a launch of more cells is what each further cell costs.
"""

import io
import itertools
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a file: make `tests` importable

from rml_platform.launch import OutputLayout, launch
from rml_platform.plan import Plan, make_plan
from rml_platform.schema import load_study
from rml_trainers.data.cache import PreparedData
from rml_trainers.reporting import MemoryReporter
from rml_trainers.trainer import Trainer
from tests.benchmarks.harness import compare, parser, publish

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


def plan_of(folder: Path, execution: str, num_cells: int, first_seed: int) -> Plan:
    """A plan of cells that no earlier round has trained."""
    file = folder / f"{execution}-{num_cells}-{first_seed}.yaml"
    seeds = ", ".join(str(first_seed + i) for i in range(num_cells))
    file.write_text(STUDY.format(execution=execution, seeds=seeds))
    return make_plan(load_study(file), data_root=None, cache_root=folder / "cache")


def main() -> None:
    arguments = parser(__doc__ or "", num_rounds=3)
    arguments.add_argument("--cells", type=int, default=4)
    options = arguments.parse_args()
    torch.set_num_threads(options.threads or 1)
    seeds = itertools.count(step=options.cells)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def bare(num_cells: int) -> Callable[[int], None]:
            def train(index: int) -> None:
                for run in plan_of(folder, "direct", num_cells, next(seeds)).runs:
                    work_dir = folder / "work" / run.run_id
                    work_dir.mkdir(parents=True)
                    Trainer(
                        run.config,
                        PreparedData.open(run.prepared_folder),
                        run.split,
                        device=torch.device("cpu"),
                        reporter=MemoryReporter(),
                        work_dir=work_dir,
                    ).fit()

            return train

        def launched(execution: str, num_cells: int) -> Callable[[int], None]:
            def carry_out(index: int) -> None:
                plan = plan_of(folder, execution, num_cells, next(seeds))
                layout = OutputLayout(root=folder / "out", storage=str(folder / "out"))
                console = Console(file=io.StringIO())
                report = launch(plan, layout=layout, data_root=None, max_concurrent=1, console=console)
                assert len(report.done) == num_cells, report

            return carry_out

        contenders: dict[str, Callable[[int], object]] = {f"bare loop, {options.cells} cells": bare(options.cells)}
        for execution in ("direct", "train"):
            contenders[f"{execution}, {options.cells} cells"] = launched(execution, options.cells)
            contenders[f"{execution}, 1 cell"] = launched(execution, 1)
        result = compare("Cells one after the other", contenders, num_rounds=options.rounds, num_warm_up=1)
        publish("Cost of a cell", [result], options)
        seconds = {timing.name: timing.median_s for timing in result.timings}
        bare_cell = seconds[f"bare loop, {options.cells} cells"] / options.cells
        for execution in ("direct", "train"):
            many, one = seconds[f"{execution}, {options.cells} cells"], seconds[f"{execution}, 1 cell"]
            each = (many - one) / (options.cells - 1)
            print(
                f"{execution}: each further cell {each:.2f} s, of which {each - bare_cell:.2f} s beyond training "
                f"({each / bare_cell:.2f} × a bare cell); the launch itself {one - each:.1f} s"
            )


if __name__ == "__main__":
    main()
