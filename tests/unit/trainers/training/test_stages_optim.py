"""Stages, the learning-rate schedule, mean teachers and the report window."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from rml_trainers.config import EvaluationConfig, RuntimeConfig, ScheduleConfig
from rml_trainers.errors import NonFiniteLossError
from rml_trainers.methods.method import StepResult
from rml_trainers.students.ema import MeanTeacherUpdate
from rml_trainers.training.meter import Meter
from rml_trainers.training.stages import Due, due_after, stage_at, stages_of
from tests.support.tiny import tiny_config


def test_stages_follow_each_other_without_gap() -> None:
    stages = stages_of(
        tiny_config("rml", schedule=ScheduleConfig(warm_up_steps=5, stage_steps=(7, 3)))
    )
    assert [(s.index, s.first_step, s.last_step, s.warm_up) for s in stages] == [
        (0, 0, 5, True),
        (1, 5, 12, False),
        (2, 12, 15, False),
    ]
    assert [stage_at(stages, step).index for step in (0, 4, 5, 11, 12, 14)] == [0, 0, 1, 1, 2, 2]


def test_supervised_is_one_stage_of_the_same_total_length() -> None:
    (stage,) = stages_of(
        tiny_config("supervised", schedule=ScheduleConfig(warm_up_steps=5, stage_steps=(7, 3)))
    )
    assert (stage.num_steps, stage.warm_up) == (15, True)


def test_without_warm_up_the_method_begins_at_once() -> None:
    stages = stages_of(
        tiny_config("iml", schedule=ScheduleConfig(warm_up_steps=0, stage_steps=(7,)))
    )
    assert [(s.index, s.warm_up) for s in stages] == [(1, False)]


def test_what_it_is_time_for_is_counted_from_the_beginning_of_the_stage() -> None:
    runtime = RuntimeConfig(log_every_steps=3, checkpoint_every_steps=4)
    schedule = ScheduleConfig(warm_up_steps=5, stage_steps=(7,))
    config = tiny_config("iml", schedule=schedule, runtime=runtime)
    extra = replace(config, evaluation=EvaluationConfig(every_steps=2))
    stage = stages_of(config)[1]
    nothing = Due(log=False, score=False, save=False, confusions=True)
    assert due_after(6, stage, config) == nothing
    assert due_after(8, stage, config) == replace(nothing, log=True)
    assert due_after(9, stage, config) == replace(nothing, save=True)
    assert due_after(12, stage, config) == Due(log=True, score=True, save=True, confusions=True)
    assert due_after(7, stage, extra) == Due(log=True, score=True, save=False, confusions=True)
    assert due_after(8, stage, extra) == Due(log=True, score=False, save=False, confusions=False)


def test_mean_teacher_averages_parameters_and_copies_buffers() -> None:
    student, teacher = (nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)) for _ in range(2))
    student(torch.randn(5, 3))  # moves running mean, running variance and the batch count
    pairs = list(zip(teacher.parameters(), student.parameters(), strict=True))
    expected = [0.9 * t.detach() + 0.1 * s.detach() for t, s in pairs]
    MeanTeacherUpdate(student, teacher, decay=0.9)(7)
    for wanted, parameter in zip(expected, teacher.parameters(), strict=True):
        torch.testing.assert_close(parameter.detach(), wanted)
    for mine, theirs in zip(teacher.buffers(), student.buffers(), strict=True):
        assert torch.equal(mine, theirs)


def test_a_warming_teacher_is_the_plain_mean_of_its_students_first_steps() -> None:
    """min(1 − 1/(t + 1), a): the mean over the steps 0 to t until the decay is reached, written out
    with numbers."""
    student, teacher = (nn.Linear(1, 1, bias=False).double() for _ in range(2))
    update = MeanTeacherUpdate(student, teacher, decay=0.75, warm_up=True)
    steps = [3.0, 5.0, -2.0, 8.0, 1.0, 4.0]
    wanted = [3.0, 4.0, 2.0, 3.5]
    wanted.append(0.75 * wanted[3] + 0.25 * steps[4])
    wanted.append(0.75 * wanted[4] + 0.25 * steps[5])
    for step, (value, expected) in enumerate(zip(steps, wanted, strict=True)):
        with torch.no_grad():
            student.weight.fill_(value)
        update(step)
        assert teacher.weight.item() == pytest.approx(expected)


CLASSES = ("sky", "road (wet)")


def _result(loss: float) -> StepResult:
    value = torch.tensor(loss)
    counts = torch.eye(2, dtype=torch.int64)
    return StepResult(loss=value, scalars={"loss": value}, confusions={"pseudo_label_1": counts})


def test_the_meter_averages_scalars_sums_counts_and_starts_afresh() -> None:
    meter = Meter(CLASSES)
    for loss in (1.0, 2.0, 6.0):
        meter.add(_result(loss))
    assert meter.read(3) == {
        "loss": pytest.approx(3.0),
        "pseudo_label_1_miou": 1.0,
        "pseudo_label_1_iou/sky": 1.0,
        "pseudo_label_1_iou/road (wet)": 1.0,
    }
    meter.add(_result(5.0))
    assert meter.read(4)["loss"] == 5.0


def test_confusions_can_go_on_summing_over_several_reports() -> None:
    meter = Meter(CLASSES)
    meter.add(_result(1.0))
    assert meter.read(1, with_confusions=False) == {"loss": 1.0}
    wrong = StepResult(
        loss=torch.zeros(()),
        scalars={"loss": torch.zeros(())},
        confusions={"pseudo_label_1": torch.tensor([[0, 1], [0, 0]])},
    )
    meter.add(wrong)
    assert meter.read(2) == {
        "loss": 0.0,
        "pseudo_label_1_miou": pytest.approx((1 / 2 + 1 / 2) / 2),
        "pseudo_label_1_iou/sky": pytest.approx(1 / 2),
        "pseudo_label_1_iou/road (wet)": pytest.approx(1 / 2),
    }
    assert meter.tensors() == {}


def test_a_class_that_did_not_occur_has_no_iou_and_lowers_no_mean() -> None:
    loss = torch.zeros(())
    counts = torch.tensor([[3, 0], [0, 0]])
    meter = Meter(CLASSES)
    meter.add(StepResult(loss=loss, scalars={"loss": loss}, confusions={"pseudo_label_1": counts}))
    found = meter.read(1)
    assert found["pseudo_label_1_iou/sky"] == found["pseudo_label_1_miou"] == 1.0
    assert math.isnan(found["pseudo_label_1_iou/road (wet)"])


def test_the_sums_of_all_workers_go_into_the_checkpoint_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two workers, the second played here: what rank 0 saves and both take back is the sum, not
    twice rank 0's."""
    meters = [Meter(CLASSES), Meter(CLASSES)]
    for meter, loss in zip(meters, (1.0, 5.0), strict=True):
        meter.add(_result(loss))
    sums = {
        name: tensor + meters[1].tensors()[name] for name, tensor in meters[0].tensors().items()
    }
    monkeypatch.setattr("rml_trainers.training.meter.sum_over_workers", lambda tensor: tensor)
    saved = {name: tensor.clone() for name, tensor in sums.items()}
    restored = []
    for number in (0, 1):
        monkeypatch.setattr("rml_trainers.training.meter.rank", lambda number=number: number)
        meter = Meter(CLASSES)
        meter.load_tensors(saved)
        restored.append(meter.tensors())
        meter.gather()
        assert (float(meter.tensors()["count"]) == 0) is (number == 1)
    assert {name: float(t.sum() + restored[1][name].sum()) for name, t in restored[0].items()} == {
        name: float(t.sum()) for name, t in sums.items()
    }


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_one_bad_loss_in_the_window_is_an_error_that_says_what_to_do(bad: float) -> None:
    meter = Meter(CLASSES)
    for loss in (1.0, bad, 1.0):
        meter.add(_result(loss))
    with pytest.raises(NonFiniteLossError, match=r"up to 3.*optimiser\.lr"):
        meter.check(3)
    with pytest.raises(NonFiniteLossError):
        meter.read(3)
