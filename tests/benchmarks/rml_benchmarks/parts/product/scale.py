"""`python -m rml_benchmarks scale`: what thousands of cells cost the launcher, with 32 nodes that
train nothing.

Each size is planned, launched, looked at and launched again in a process of its own; CPU time is
counted, all threads of the launcher together, so that a busy machine does not lengthen it. What the
nodes would do is taken off. Tracking is left out: MLflow's share is sent beside the launch, and
`records` measures reading it.
"""

import io
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from rml_benchmarks.measuring.publishing import Result
from rml_benchmarks.measuring.tables import Table
from rml_benchmarks.part import Bench
from rml_benchmarks.parts.product.handing_out import handed_out
from rml_benchmarks.parts.product.simulated_fleet import SimulatedFleet

SIZES = (1_000, 3_000, 10_000)
NUM_NODES = 32
NUM_ROWS = 50
STUDY = """
name: thousands
execution: direct
max_gpu_hours: 1000000
base:
  data: {{name: scenes, size_px: [32, 48], num_train: 40, num_val: 3}}
  split: {{num_labelled: 4}}
  method: {{name: rml, min_cells: 1}}
  network: {{backbone: test_resnet, weights: none}}
  geometry: {{crop_px: [24, 32]}}
  batch: {{labelled: 2, unlabelled: 2}}
  schedule: {{warm_up_steps: 10, stage_steps: [10]}}
axes: {{method.temperature: [{temperatures}]}}
seeds: [{seeds}]
"""


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Of one size: CPU seconds of each command, and the memory of the process."""

    plan_s: float
    launch_s: float
    status_s: float
    again_s: float
    planned_bytes: int
    """The most that was resident once the plan was made."""
    peak_bytes: int
    """The most that was resident in the end."""


def run(bench: Bench) -> Iterator[Result]:
    """Costs per cell of each size, and what a thousand cells more take of memory."""
    costs = {}
    for num_cells in SIZES:
        words = [sys.executable, "-m", __name__, str(num_cells), str(bench.folder / "scale")]
        done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
        costs[num_cells] = Costs(**json.loads(done.stdout.splitlines()[-1]))

    def per_cell(seconds: Callable[[Costs], float]) -> list[float]:
        return [1000 * seconds(cost) / num_cells for num_cells, cost in costs.items()]

    yield Table(
        title=f"CPU per cell on {NUM_NODES} simulated nodes (ms)",
        columns=("", *(f"{num_cells:,} cells" for num_cells in SIZES)),
        rows=(
            ("rml plan", *per_cell(lambda cost: cost.plan_s)),
            ("rml launch: the scheduler", *per_cell(lambda cost: cost.launch_s)),
            ("rml status", *per_cell(lambda cost: cost.status_s)),
            ("rml launch again: nothing to do", *per_cell(lambda cost: cost.again_s)),
        ),
        note="Wanted: the same in every column, and at most 20 ms of scheduler per cell.",
    )
    small = costs[min(SIZES)]
    large = costs[max(SIZES)]
    thousands = (max(SIZES) - min(SIZES)) / 1000
    yield Table(
        title="Memory of the launcher",
        columns=("", "MB"),
        rows=(
            (f"most with {min(SIZES):,} cells", small.peak_bytes / 1e6),
            (f"most with {max(SIZES):,} cells", large.peak_bytes / 1e6),
            ("per 1,000 cells", (large.peak_bytes - small.peak_bytes) / thousands / 1e6),
            (
                "of that, the plan",
                (large.planned_bytes - small.planned_bytes) / thousands / 1e6,
            ),
        ),
    )
    yield handed_out(bench.folder)


def measured(num_cells: int, folder: Path) -> Costs:
    """Plan, launch, look and launch again, in this process."""
    from typer.testing import CliRunner

    from rml_platform.cli import app
    from rml_platform.launch.launch import launch
    from rml_platform.launch.output_layout import OutputLayout
    from rml_platform.planning.plan import Plan, make_plan
    from rml_platform.planning.plan_file.writing import write_down
    from rml_platform.study.schema import load_study

    file = folder / f"thousands-{num_cells}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(study_text(num_cells))
    out = folder / f"out-{num_cells}"
    layout = OutputLayout(root=out, storage=str(out))
    fleet = SimulatedFleet(NUM_NODES)
    seconds = []

    def timed(work: Callable[[], object]) -> None:
        begin_s = time.process_time() - fleet.simulated_s
        work()
        seconds.append(time.process_time() - fleet.simulated_s - begin_s)

    def plan() -> None:
        plans.append(make_plan(load_study(file), data_root=None, cache_root=out / "cache"))
        write_down(plans[0], None, out, layout.storage)

    def launched() -> None:
        report = launch(
            plans[0],
            layout=layout,
            data_root=None,
            tracking_uri="none",
            console=Console(file=io.StringIO()),
            carry_out=fleet.carry_out,
        )
        assert len(report.done) + len(report.done_before) == num_cells, report

    def status() -> None:
        done = CliRunner().invoke(app, ["status", str(file), "--out", str(out)])
        assert done.exit_code == 0, done.output

    plans = list[Plan]()
    timed(plan)
    planned_bytes = _peak_bytes()
    for work in (launched, status, launched):
        timed(work)
    plan_s, launch_s, status_s, again_s = seconds
    return Costs(
        plan_s=plan_s,
        launch_s=launch_s,
        status_s=status_s,
        again_s=again_s,
        planned_bytes=planned_bytes,
        peak_bytes=_peak_bytes(),
    )


def study_text(num_cells: int) -> str:
    """A study of so many cells, in rows that share their warm-up."""
    num_rows = min(NUM_ROWS, num_cells // 2)
    temperatures = ", ".join(f"{(1 + i) / 100:.2f}" for i in range(num_rows))
    seeds = ", ".join(map(str, range(num_cells // num_rows)))
    return STUDY.format(temperatures=temperatures, seeds=seeds)


def _peak_bytes() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(measured(int(sys.argv[1]), Path(sys.argv[2])))) + "\n")
