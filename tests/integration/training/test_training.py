"""Every method trains, reports, scores and checkpoints; a new one is tested on arrival."""

import math
from pathlib import Path

import pytest
import torch

from rml_trainers.config import EvaluationConfig, RunConfig
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.data.splitting.splits import make_split
from rml_trainers.methods import METHODS
from rml_trainers.methods.paper.rml import RmlConfig
from rml_trainers.training.reporting import MemoryReporter
from rml_trainers.training.trainer import Trainer
from tests.support.tiny import METHOD_CONFIGS, tiny_config

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
def test_a_run_trains_every_stage_and_scores_at_its_end(
    method: str, tiny_data: PreparedData, scratch: Path
) -> None:
    config = tiny_config(method, evaluation=EvaluationConfig(batch=3, monitor_pseudo_labels=True))
    trainer, reporter = train(config, tiny_data, scratch)
    assert trainer.finished and trainer.step == 12
    assert [progress.step for progress, _ in reporter.evaluations] == (
        [12] if method == "supervised" else [4, 8, 12]
    )
    final = trainer.evaluations[0]
    assert final.protocol == "scenes-32x48/teacher_1/last"
    assert 0 <= final.miou <= 1
    assert final.confusion.sum() > 0
    assert reporter.checkpoints[-1].step == 12
    scalars = reporter.steps[-1][1]
    assert scalars["loss"] > 0
    if method != "supervised":
        labeller = 2 if method == "meta_pseudo_label" else 1  # whose labels are measured
        assert f"pseudo_label_{labeller}_miou" in scalars
    if config.method.num_students == 2 and method != "meta_pseudo_label":  # one labels, one learns
        assert 0 <= scalars["coupling_tv"] <= 1
    if method == "rml":
        assert "pseudo_label_2_unrectified_miou" in scalars
        assert f"pseudo_label_2_unrectified_iou/{tiny_data.class_names[0]}" in scalars
        assert 0 <= scalars["omega_entropy_1"] <= 1
        assert 0 <= scalars["rectified_2"] <= 1


@pytest.mark.parametrize("method", METHODS)
def test_the_loss_of_a_method_reaches_every_trainable_parameter(
    method: str, tiny_data: PreparedData, scratch: Path
) -> None:
    before = {}
    config = tiny_config(method)
    split = make_split(tiny_data.names("train"), config.split)
    trainer = Trainer(
        config,
        tiny_data,
        split,
        device=torch.device("cpu"),
        reporter=MemoryReporter(),
        work_dir=scratch,
    )
    before = {name: p.detach().clone() for name, p in trainer.learners.students.named_parameters()}
    trainer.fit()
    for name, parameter in trainer.learners.students.named_parameters():
        assert not torch.equal(before[name], parameter), f"{name} did not move"


def test_students_begin_different_and_teachers_as_their_students(
    tiny_data: PreparedData, scratch: Path
) -> None:
    config = tiny_config("iml")
    split = make_split(tiny_data.names("train"), config.split)
    learners = Trainer(
        config,
        tiny_data,
        split,
        device=torch.device("cpu"),
        reporter=MemoryReporter(),
        work_dir=scratch,
    ).learners
    first, second = (next(iter(learners.student(i).head_parameters())) for i in (0, 1))
    assert not torch.equal(first, second)
    for student, teacher in zip(
        learners.students.parameters(), learners.teachers.parameters(), strict=True
    ):
        assert torch.equal(student, teacher)
        assert not teacher.requires_grad


def test_all_networks_can_be_scored_at_once(tiny_data: PreparedData, scratch: Path) -> None:
    scored = EvaluationConfig(
        networks=("ensemble", "teacher_1", "teacher_2", "student_1", "student_2")
    )
    trainer, _ = train(tiny_config("iml", evaluation=scored), tiny_data, scratch)
    assert tuple(e.network for e in trainer.evaluations) == scored.networks
    assert len({e.confusion.tobytes() for e in trainer.evaluations}) > 1


def test_monitors_change_no_result(tiny_data: PreparedData, scratch: Path) -> None:
    """Whatever is watched, weights and scores are the same bits."""
    watched = EvaluationConfig(
        batch=3, every_steps=2, monitor_coupling="train_set", monitor_pseudo_labels=True
    )
    plain = EvaluationConfig(batch=3, monitor_coupling="off")
    runs = [
        train(tiny_config("rml", evaluation=evaluation), tiny_data, scratch)
        for evaluation in (watched, plain)
    ]
    (first, with_monitors), (second, without) = runs
    for mine, theirs in zip(
        first.learners.students.parameters(), second.learners.students.parameters(), strict=True
    ):
        assert torch.equal(mine, theirs)
    assert first.evaluations[0].confusion.tolist() == second.evaluations[0].confusion.tolist()
    assert not any("coupling" in name for _, scalars in without.steps for name in scalars)
    curve = {
        p.step: s["coupling_tv_train_set"]
        for p, s in with_monitors.steps
        if "coupling_tv_train_set" in s
    }
    assert list(curve) == [0, 2, 4, 6, 8, 10, 12]
    assert all(0 < distance <= 1 for distance in curve.values())


@pytest.mark.parametrize(
    ("method", "labellers"), [("mutual_direct", "students"), ("iml", "teachers")]
)
def test_the_coupling_of_a_method_is_that_of_the_networks_that_label(
    method: str, labellers: str, tiny_data: PreparedData, scratch: Path
) -> None:
    evaluation = EvaluationConfig(batch=3, monitor_coupling="train_set")
    _, reporter = train(tiny_config(method, evaluation=evaluation), tiny_data, scratch)
    last = reporter.steps[-1][1]
    assert last["coupling_tv_train_set"] == last[f"coupling_tv_train_set_{labellers}"]
    assert last["coupling_tv_train_set_students"] != last["coupling_tv_train_set_teachers"]


def test_pseudo_labels_are_counted_from_one_evaluation_to_the_next(
    tiny_data: PreparedData, scratch: Path
) -> None:
    evaluation = EvaluationConfig(batch=3, every_steps=4, monitor_pseudo_labels=True)
    _, reporter = train(tiny_config("iml", evaluation=evaluation), tiny_data, scratch)
    assert [p.step for p, s in reporter.steps if "pseudo_label_1_miou" in s] == [8, 12]
    for _, scalars in reporter.steps:
        by_class = [scalars.get(f"pseudo_label_1_iou/{name}") for name in tiny_data.class_names]
        if "pseudo_label_1_miou" not in scalars:
            assert by_class == [None] * tiny_data.num_classes
            continue
        scored = [iou for iou in by_class if iou is not None and not math.isnan(iou)]
        assert scalars["pseudo_label_1_miou"] == pytest.approx(sum(scored) / len(scored))
    assert [p.step for p, s in reporter.steps if "loss" in s] == [3, 4, 7, 8, 11, 12]


def test_before_rectification_the_labels_are_those_of_p0(
    tiny_data: PreparedData, scratch: Path
) -> None:
    """With an ω that says nothing both are the same; with a saturated one they differ."""
    monitored = EvaluationConfig(batch=3, monitor_pseudo_labels=True)
    for temperature, changes in ((1e6, False), (1e-3, True)):
        method = RmlConfig(min_cells=1, temperature=temperature)
        _, reporter = train(
            tiny_config("rml", method=method, evaluation=monitored), tiny_data, scratch
        )
        scores = [
            (s["pseudo_label_1_miou"], s["pseudo_label_1_unrectified_miou"])
            for p, s in reporter.steps[2:]
        ]
        assert any(after != before for after, before in scores) is changes
