"""`python -m rml_benchmarks plan`: what the commands around a study take before and beside the
training: `rml --help`, `plan`, `status` and `tables` of a small study and of one of thousands of
cells, and what follows for each further cell.

Every call is a process of its own, as a person starts it. The smallest of several calls is shown:
whatever else the machine does can only lengthen one.
"""

import dataclasses
import itertools
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rml_benchmarks.measuring.publishing import Result
from rml_benchmarks.measuring.tables import Table
from rml_benchmarks.part import Bench
from rml_dashboards.contract.run_folder import TASK_FILE
from rml_platform.launch.output_layout import OutputLayout
from rml_platform.launch.sizing import task_of
from rml_platform.planning.plan import Plan, make_plan
from rml_platform.run.run_folder import Heartbeat, RunFolder
from rml_platform.run.run_folder import Result as RunResult
from rml_platform.run.task import RUN_TASK, Process
from rml_platform.study.schema import load_study
from rml_trainers.scoring.score import Evaluation

SHAPES = {20: (2, 2, 5), 2000: (10, 10, 20)}
"""Cells of a study → its rows, columns and seeds."""
METHODS = ("supervised", "iml", "rml", "mean_teacher")
COMMANDS = {
    "plan": ("plan", "{study}", "--out", "{out}"),
    "status": ("status", "{study}", "--out", "{out}"),
    "tables, from run folders": (
        *("tables", "{study}", "--out", "{out}"),
        *("--tracking-uri", "none"),
    ),
}
HELP = ("--help",)
STUDY = """
name: many
base:
  data: {{name: scenes, size_px: [32, 48], num_train: 40, num_val: 3}}
  method: {{name: supervised}}
  network: {{backbone: test_resnet, weights: none}}
  geometry: {{crop_px: [24, 32]}}
  batch: {{labelled: 2, unlabelled: 2}}
  schedule: {{warm_up_steps: 10, stage_steps: [10]}}
rows:
{rows}
columns:
{columns}
seeds: {seeds}
split_seeds: {split_seeds}
"""


@dataclass(frozen=True)
class Cost:
    """Time that a process took."""

    wall_s: float
    cpu_s: float


def run(bench: Bench) -> Iterator[Result]:
    """The commands on both studies, and what a further cell adds to each."""
    num_rounds = bench.num_rounds(3)
    places = {cells: study_of(bench.folder / f"cells-{cells}", cells) for cells in SHAPES}
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


def study_of(folder: Path, num_cells: int) -> Path:
    """A study file with that many cells; its runs are recorded as half done, a quarter at work."""
    folder.mkdir(parents=True)
    num_rows, num_columns, num_seeds = SHAPES[num_cells]
    methods = itertools.islice(itertools.cycle(METHODS), num_rows)
    rows = [
        f"  - {{label: Row {i}, set: {{method.name: {method}, optimiser.lr: {(i + 1) / 100}}}}}"
        for i, method in enumerate(methods)
    ]
    columns = [
        f"  - {{label: Column {i}, set: {{split.num_labelled: {i + 2}}}}}"
        for i in range(num_columns)
    ]
    study = folder / "study.yaml"
    study.write_text(
        STUDY.format(
            rows="\n".join(rows),
            columns="\n".join(columns),
            seeds=list(range(num_seeds)),
            split_seeds=[seed % 5 for seed in range(num_seeds)],
        )
    )
    out = folder / "out"
    plan = make_plan(load_study(study), data_root=None, cache_root=out / "cache")
    assert len(plan.cells) == num_cells, plan
    record(plan, out)
    return study


def record(plan: Plan, out: Path) -> None:
    """Run folders as training leaves them: of four runs two are done, one is at work, one is not
    begun."""
    layout = OutputLayout(root=out, storage=str(out))
    process = Process.current()
    beat = Heartbeat(
        launch_id="bench",
        launcher=process,
        worker=process,
        device="cpu",
        attempt=1,
        launch_attempt=1,
        step=10,
        num_steps=20,
        seconds=5.0,
        loss=1.5,
    )
    for number, planned in enumerate(plan.runs):
        folder = RunFolder.of(str(out), planned.run_id)
        if number % 4 == 3:
            continue
        task = task_of(planned, plan.study.name, layout, None, beat.launch_id)
        folder.folder.write(TASK_FILE, RUN_TASK.encode(task))
        folder.write_heartbeat(beat)
        if number % 4 < 2:
            folder.write_result(_result(len(planned.split.labelled)))


def _result(seed: int) -> RunResult:
    names = [f"class {k}" for k in range(19)]
    scores = {"miou": 0.5, "accuracy": 0.9, **{f"iou/{name}": 0.5 for name in names}}
    evaluation = Evaluation(
        protocol="scenes-32x48/teacher_1/last",
        network="teacher_1",
        scores=scores,
        confusion=np.full((len(names), len(names)), 1000 + seed),
    )
    return RunResult(
        evaluations=(evaluation, dataclasses.replace(evaluation, network="student_1")),
        steps=20,
        seconds=10.0,
        device="cpu",
        host="bench",
        num_workers=1,
        attempt=1,
        code_version="bench",
        dirty=False,
        time=0.0,
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
