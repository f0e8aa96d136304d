"""Every row of every table of the paper, in miniature: it trains, is scored, and one study becomes
its table."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from rml_platform.cli import app
from rml_platform.launch.claiming import new_launch_id
from rml_platform.launch.direct import run_direct
from rml_platform.launch.live_view import note_on
from rml_platform.launch.output_layout import OutputLayout
from rml_platform.launch.sizing import task_of
from rml_platform.planning.plan import make_plan
from rml_platform.planning.plan_without_images import plan_without_images
from rml_platform.run.run_folder import RunFolder
from rml_platform.study.schema import load_study
from rml_platform.tracking.opening import open_tracker
from rml_platform.tracking.publisher import Publisher
from rml_trainers.config import RunConfig, ScheduleConfig
from rml_trainers.config import replace as with_parts
from rml_trainers.data.prepared.prepare import ensure_prepared
from rml_trainers.data.sources.scenes import ScenesConfig
from rml_trainers.data.splitting.splits import make_split
from rml_trainers.methods.comparators.adversarial.ecs import EcsConfig
from rml_trainers.training.reporting import MemoryReporter
from rml_trainers.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("single_thread")

FOLDER = Path(__file__).parents[3] / "search_spaces"
FEW_STEPS = (
    "schedule.warm_up_steps=1",
    "schedule.stage_steps=[1]",
    "data.num_train=60",
    "data.num_val=2",
)


def shortened(config: RunConfig) -> RunConfig:
    """The same run with one step per stage, on a handful of scenes."""
    assert isinstance(config.data, ScenesConfig)
    schedule = config.schedule
    few = ScheduleConfig(
        warm_up_steps=min(1, schedule.warm_up_steps),
        stage_steps=(1,) * len(schedule.stage_steps),
        students_restart=schedule.students_restart,
    )
    method = config.method
    if isinstance(method, EcsConfig):  # otherwise no step would be left for unlabelled images
        method = replace(method, correction_start=0)
    data = replace(config.data, num_train=60, num_val=2)
    return with_parts(config, schedule=few, data=data, method=method)


def path_of(config: RunConfig) -> tuple[object, ...]:
    """What decides which code a run goes through; sizes and rates do not."""
    kinds = tuple(
        (network.name, getattr(network, "projection_width", None))
        for network in config.student_networks
    )
    switches = (
        config.noise.input,
        config.noise.model,
        config.teacher.mode,
        config.schedule.students_restart,
    )
    return config.method, kinds, switches, config.evaluation.inference


def miniatures() -> dict[str, RunConfig]:
    """One run per row of the studies that have a profile on scenes; rows that go the same path are
    one."""
    found: dict[tuple[object, ...], tuple[str, RunConfig]] = {}
    for file in sorted(FOLDER.glob("*.yaml")):
        if "small" not in load_study(file).profiles:
            continue
        for run in plan_without_images(load_study(file, (), "small"), "").runs:
            if run.config.data.name == "scenes":
                name = f"{file.stem}: {run.cells[0].row}"
                found.setdefault(path_of(run.config), (name, shortened(run.config)))
    return dict(found.values())


MINIATURES = miniatures()


@pytest.mark.parametrize("name", MINIATURES)
def test_a_row_trains_and_is_scored(
    name: str, tmp_path_factory: pytest.TempPathFactory, scratch: Path
) -> None:
    config = MINIATURES[name]
    data = ensure_prepared(config.data, None, tmp_path_factory.getbasetemp() / "scenes")
    reporter = MemoryReporter()
    split = make_split(data.names("train"), config.split)
    trainer = Trainer(
        config, data, split, device=torch.device("cpu"), reporter=reporter, work_dir=scratch
    )
    evaluations = trainer.fit()
    assert trainer.step == config.schedule.total_steps
    assert [evaluation.network for evaluation in evaluations] == list(config.evaluation.networks)
    assert all(0 <= evaluation.miou <= 1 for evaluation in evaluations)


def test_a_table_of_the_paper_is_filled(tmp_path: Path) -> None:
    """Plan, direct runs, tracking and table of Table 4's miniature; its two RML rows are one run at
    this length."""
    study = load_study(FOLDER / "table4.yaml", (*FEW_STEPS, "seeds=[0]"), "small")
    plan = make_plan(study, data_root=None, cache_root=tmp_path / "cache")
    assert (len(plan.cells), len(plan.runs)) == (7, 6)
    runs = [plan.runs[0], plan.runs[-1]]
    assert [[cell.row for cell in run.cells] for run in runs] == [
        ["Supervised"],
        ["RML", "RML (two stages)"],
    ]
    layout = OutputLayout(root=tmp_path, storage=str(tmp_path))
    for run in runs:
        assert run_direct(task_of(run, study.name, layout, None, new_launch_id())) == "done"
    tracker = open_tracker(None, tmp_path, layout.artifacts)
    publisher = Publisher(tracker, study.name, note_on(Console(quiet=True)))
    publisher.sync([RunFolder.of(layout.storage, run.run_id) for run in runs], closing=True)
    sets = [text for setting in (*FEW_STEPS, "seeds=[0]") for text in ("--set", setting)]
    command = [
        "tables",
        str(FOLDER / "table4.yaml"),
        "--profile",
        "small",
        *sets,
        "--out",
        str(tmp_path),
    ]
    done = CliRunner().invoke(app, command, env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    (written,) = (tmp_path / "studies" / "table4").glob("*.md")
    table = written.read_text().split("## How to trace")[0]
    assert "Table 4 in miniature" in table
    assert table.count("(1)") == 3, "every row that was run has its score"
    assert "62.85" not in table, "the paper's numbers are of another size"
