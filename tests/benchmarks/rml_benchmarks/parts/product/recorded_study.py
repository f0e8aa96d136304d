"""Planned studies of any size whose runs are recorded in their folders, as training leaves them."""

import dataclasses
import itertools
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

import numpy as np

from rml_dashboards.contract.run_folder import TASK_FILE
from rml_platform.launch.output_layout import OutputLayout
from rml_platform.launch.sizing import task_of
from rml_platform.planning.plan import Plan, PlannedRun, make_plan
from rml_platform.run.run_folder import Heartbeat, RunFolder
from rml_platform.run.run_folder import Result as RunResult
from rml_platform.run.task import RUN_TASK, Process
from rml_platform.study.schema import load_study
from rml_trainers.scoring.score import Evaluation

Shape = tuple[int, int, int]
"""Rows, columns and seeds of a study."""
CLASSES = tuple(f"class {k}" for k in range(19))
METHODS = ("supervised", "iml", "rml", "mean_teacher")
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


def half_done(folder: Path, shape: Shape) -> Path:
    """A study file of that shape; its runs are recorded as half done, a quarter at work."""
    study, plan = planned(folder, shape)
    record(plan, study.parent / "out")
    return study


def planned(folder: Path, shape: Shape) -> tuple[Path, Plan]:
    """A study file of that shape in a new folder, and its plan; nothing of it is recorded yet."""
    folder.mkdir(parents=True)
    num_rows, num_columns, num_seeds = shape
    methods = itertools.islice(itertools.cycle(METHODS), num_rows)
    rows = [
        f"  - {{label: Row {i}, set: {{method.name: {method}, optimiser.lr: {(i + 1) / 1000}}}}}"
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
    plan = make_plan(load_study(study), data_root=None, cache_root=folder / "out" / "cache")
    assert len(plan.cells) == num_rows * num_columns * num_seeds, plan
    return study, plan


def record(plan: Plan, out: Path) -> None:
    """Run folders as training leaves them: of four runs two are done, one is at work, one is not
    begun."""
    for number, planned in enumerate(plan.runs):
        if number % 4 == 3:
            continue
        folder = begun(plan, planned, out)
        if number % 4 < 2:
            folder.write_result(result(len(planned.split.labelled), dict.fromkeys(CLASSES, 0.5)))


def begun(plan: Plan, run: PlannedRun, out: Path) -> RunFolder:
    """The folder of a run that is at work."""
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
    folder = RunFolder.of(str(out), run.run_id)
    task = task_of(run, plan.study.name, layout, None, beat.launch_id)
    folder.folder.write(TASK_FILE, RUN_TASK.encode(task))
    folder.write_heartbeat(beat)
    return folder


def result(seed: int, iou: Mapping[str, float]) -> RunResult:
    """What a finished run scored, IoU by class."""
    scores = {"miou": fmean(iou.values()), "accuracy": 0.9}
    evaluation = Evaluation(
        protocol="scenes-32x48/teacher_1/last",
        network="teacher_1",
        scores={**scores, **{f"iou/{name}": value for name, value in iou.items()}},
        confusion=np.full((len(iou), len(iou)), 1000 + seed),
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
