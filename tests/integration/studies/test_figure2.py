"""The study of the paper's Figure 2: its rows differ in nothing but the teaching and the model
noise, and all train."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rml_platform.planning.plan_without_images import plan_without_images
from rml_platform.study.schema import load_study
from rml_trainers.config import RunConfig, ScheduleConfig, SplitConfig
from rml_trainers.config import replace as with_parts
from rml_trainers.data.prepared.prepare import ensure_prepared
from rml_trainers.data.splitting.splits import make_split
from rml_trainers.methods.paper.iml import ImlConfig
from rml_trainers.training.reporting import MemoryReporter
from rml_trainers.training.trainer import Trainer
from tests.support.own_data.idx_files import write_mnist

STUDY = Path(__file__).parents[3] / "search_spaces" / "figure2.yaml"
pytestmark = pytest.mark.usefixtures("single_thread")


def cells(profile: str | None = None) -> dict[tuple[str, str], RunConfig]:
    """One run per row and column."""
    outline = plan_without_images(load_study(STUDY, (), profile), "not needed here")
    return {
        (cell.row, cell.column): run.config
        for run in outline.runs
        for cell in run.cells
        if cell.seed == 0
    }


def test_it_is_the_papers_experiment() -> None:
    study = load_study(STUDY)
    assert plan_without_images(study, "").num_cells == 90 and len(study.seeds) == 10
    assert {figure.metric for figure in study.figures} >= {"train/coupling_tv_train_set"}
    for config in cells().values():
        assert (config.data.name, config.network.name, config.split.num_labelled) == (
            "mnist",
            "mlp",
            1000,
        )
        assert config.evaluation.monitor_coupling == "train_set"


@pytest.mark.parametrize("column", ["EMA 0.99", "EMA 0.999", "warm-up, EMA 0.999"])
def test_rows_differ_in_teaching_and_model_noise_only(column: str) -> None:
    found = cells()
    direct = found["Direct mutual learning", column]
    indirect = found["Indirect mutual learning", column]
    noisy = found["Indirect, with model noise", column]
    assert indirect == with_parts(direct, method=ImlConfig(own_teacher=False))
    assert noisy == with_parts(indirect, noise=replace(indirect.noise, model=True))


@pytest.mark.parametrize("column", ["EMA 0.99", "warm-up, EMA 0.999"])
@pytest.mark.parametrize(
    "row", ["Direct mutual learning", "Indirect mutual learning", "Indirect, with model noise"]
)
def test_a_curve_is_recorded_from_the_first_step_to_the_last(
    row: str, column: str, tmp_path: Path, scratch: Path
) -> None:
    write_mnist(tmp_path)
    config = cells("small")[row, column]
    schedule = ScheduleConfig(warm_up_steps=min(2, config.schedule.warm_up_steps), stage_steps=(4,))
    config = with_parts(config, split=SplitConfig(num_labelled=6), schedule=schedule)
    config = with_parts(config, evaluation=replace(config.evaluation, every_steps=2))
    data = ensure_prepared(config.data, tmp_path, tmp_path / "cache")
    reporter = MemoryReporter()
    split = make_split(data.names("train"), config.split)
    Trainer(
        config, data, split, device=torch.device("cpu"), reporter=reporter, work_dir=scratch
    ).fit()
    steps = [
        progress.step for progress, scalars in reporter.steps if "coupling_tv_train_set" in scalars
    ]
    assert steps == [*range(0, schedule.total_steps + 1, 2)]
