"""Every method trains, reports, scores and checkpoints; a new one is tested on arrival."""

from pathlib import Path

import pytest
import torch

from rml_trainers.config import EvaluationConfig, RunConfig
from rml_trainers.data.cache import PreparedData
from rml_trainers.data.splits import make_split
from rml_trainers.methods import METHODS
from rml_trainers.reporting import MemoryReporter
from rml_trainers.trainer import Trainer
from tests.tiny import METHOD_CONFIGS, tiny_config

pytestmark = pytest.mark.usefixtures("single_thread")


def train(config: RunConfig, data: PreparedData, work_dir: Path) -> tuple[Trainer, MemoryReporter]:
    reporter = MemoryReporter()
    trainer = Trainer(
        config,
        data,
        make_split(data.names("train"), config.split),
        device=torch.device("cpu"),
        reporter=reporter,
        work_dir=work_dir,
    )
    trainer.fit()
    return trainer, reporter


def test_the_tests_know_every_method() -> None:
    assert set(METHOD_CONFIGS) == set(METHODS)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_trains_every_stage_and_scores_at_its_end(method: str, tiny_data: PreparedData, scratch: Path) -> None:
    config = tiny_config(method, evaluation=EvaluationConfig(batch=3, monitor_pseudo_labels=True))
    trainer, reporter = train(config, tiny_data, scratch)
    assert trainer.finished and trainer.step == 12
    assert [progress.step for progress, _ in reporter.evaluations] == ([12] if method == "supervised" else [4, 8, 12])
    final = trainer.evaluations[0]
    assert final.protocol == "scenes-32x48/teacher_1/last"
    assert 0 <= final.miou <= 1
    assert final.confusion.sum() > 0
    assert reporter.checkpoints[-1].step == 12
    scalars = reporter.steps[-1][1]
    assert scalars["loss"] > 0
    if method != "supervised":
        assert "pseudo_label_1_miou" in scalars
    if method == "rml":
        assert 0 <= scalars["omega_entropy_1"] <= 1
        assert 0 <= scalars["rectified_2"] <= 1


@pytest.mark.parametrize("method", METHODS)
def test_the_loss_of_a_method_reaches_every_trainable_parameter(
    method: str, tiny_data: PreparedData, scratch: Path
) -> None:
    before = {}
    config = tiny_config(method)
    split = make_split(tiny_data.names("train"), config.split)
    trainer = Trainer(config, tiny_data, split, device=torch.device("cpu"), reporter=MemoryReporter(), work_dir=scratch)
    before = {name: p.detach().clone() for name, p in trainer.learners.students.named_parameters()}
    trainer.fit()
    for name, parameter in trainer.learners.students.named_parameters():
        assert not torch.equal(before[name], parameter), f"{name} did not move"


def test_students_begin_different_and_teachers_as_their_students(tiny_data: PreparedData, scratch: Path) -> None:
    config = tiny_config("iml")
    split = make_split(tiny_data.names("train"), config.split)
    learners = Trainer(
        config, tiny_data, split, device=torch.device("cpu"), reporter=MemoryReporter(), work_dir=scratch
    ).learners
    first, second = (next(iter(learners.student(i).head_parameters())) for i in (0, 1))
    assert not torch.equal(first, second)
    for student, teacher in zip(learners.students.parameters(), learners.teachers.parameters(), strict=True):
        assert torch.equal(student, teacher)
        assert not teacher.requires_grad


def test_all_networks_can_be_scored_at_once(tiny_data: PreparedData, scratch: Path) -> None:
    scored = EvaluationConfig(networks=("ensemble", "teacher_1", "teacher_2", "student_1", "student_2"))
    trainer, _ = train(tiny_config("iml", evaluation=scored), tiny_data, scratch)
    assert tuple(e.network for e in trainer.evaluations) == scored.networks
    assert len({e.confusion.tobytes() for e in trainer.evaluations}) > 1
