"""Estimates of what is left: from measured runs of the same method, from a stated rate, or not at
all."""

import pytest

from rml_platform.planning.cost import (
    Estimate,
    RunCost,
    estimate,
    first_steps,
    runs_at_once,
    stated_seconds_left,
)
from rml_platform.planning.machine import Machine
from rml_platform.planning.workload import stage_costs
from rml_platform.study.study_file import CostConfig, ResourcesConfig
from rml_trainers.config import BatchConfig, RunConfig, ScheduleConfig
from rml_trainers.noise.config import GeometryConfig
from tests.support.tiny import METHOD_CONFIGS, NETWORK_CONFIGS, tiny_config

ONE_SECOND = CostConfig(seconds_per_megapixel={"deeplab_v2": 1}, source="counted")
"""With this rate the seconds are the million pixels times passes."""


def seconds(config: RunConfig, cost: CostConfig | None = ONE_SECOND, step: int = 0) -> float | None:
    """Device-seconds of a run from a step on."""
    stages = stage_costs(config, cost, split_hash="split", data_hash="data")
    return stated_seconds_left(stages, step)


def test_nothing_is_known_before_the_first_run() -> None:
    left = [RunCost(kind="rml", steps_left=100), RunCost(kind="iml", steps_left=100)]
    assert estimate(left) == Estimate(hours=0.0, num_unknown=2)


def test_runs_of_the_same_method_tell_the_pace() -> None:
    runs = [
        RunCost(kind="rml", steps_left=0, steps_done=100, seconds_spent=360),
        RunCost(kind="rml", steps_left=500, steps_done=100, seconds_spent=720),
        RunCost(kind="rml", steps_left=500),
        RunCost(kind="iml", steps_left=100),
    ]
    found = estimate(runs)
    assert found.hours == pytest.approx(1000 * 5.4 / 3600)
    assert found.num_unknown == 1


def test_a_finished_study_has_nothing_left() -> None:
    assert estimate([RunCost(kind="rml", steps_left=0, steps_done=5, seconds_spent=1)]) == Estimate(
        hours=0.0, num_unknown=0
    )


def test_a_measured_pace_goes_before_a_stated_one() -> None:
    runs = [
        RunCost(kind="rml", steps_left=0, steps_done=100, seconds_spent=360),
        RunCost(kind="rml", steps_left=100, stated_seconds_left=7200),
        RunCost(kind="iml", steps_left=100, stated_seconds_left=7200),
        RunCost(kind="iml", steps_left=0, stated_seconds_left=0),
        RunCost(kind="dmt", steps_left=100),
    ]
    assert estimate(runs) == Estimate(hours=0.1, num_unknown=1, stated_hours=2.0, num_stated=1)


# A crop of 1000×1000 is one megapixel; 2 labelled, 3 unlabelled images; 10 steps of warm-up, 5 + 5
# of the method. Warm-up: 3 passes over 2 images of each student. Method: the same, and 3 + 1 over 3
# images of each student.
PASSES = {
    "supervised": 20 * 6,
    "mean_teacher": 10 * 6 + 10 * (6 + 12),
    "rml": 2 * (10 * 6 + 10 * (6 + 12)),
}


@pytest.mark.parametrize("method", PASSES)
def test_passes_are_counted_by_hand(method: str) -> None:
    config = tiny_config(
        method,
        geometry=GeometryConfig(crop_px=(1000, 1000)),
        batch=BatchConfig(labelled=2, unlabelled=3),
        schedule=ScheduleConfig(warm_up_steps=10, stage_steps=(5, 5)),
    )
    assert seconds(config) == pytest.approx(PASSES[method])
    rate = CostConfig(seconds_per_megapixel={"deeplab_v2": 0.5}, source="measured")
    assert seconds(config, rate) == pytest.approx(PASSES[method] / 2)
    other = CostConfig(seconds_per_megapixel={"other": 1}, source="measured")
    assert seconds(config, other) is None
    assert seconds(config, None) is None


def test_students_of_two_networks_each_have_their_rate() -> None:
    setr = NETWORK_CONFIGS["setr"]
    config = tiny_config("iml", peer_network=setr, geometry=GeometryConfig(crop_px=(1000, 1000)))
    rates = CostConfig(seconds_per_megapixel={"deeplab_v2": 1, "setr": 10}, source="measured")
    both = tiny_config("iml", geometry=GeometryConfig(crop_px=(1000, 1000)))
    assert seconds(config, rates) == pytest.approx(11 / 2 * (seconds(both) or 0))
    assert seconds(config, ONE_SECOND) is None


def test_a_run_that_goes_on_costs_what_is_left() -> None:
    # Warm-up of 4 steps, stages of 4 and 4; 2 + 2 images.
    config = tiny_config("iml", geometry=GeometryConfig(crop_px=(1000, 1000)))
    assert seconds(config) == pytest.approx(2 * (12 * 6 + 8 * 8))
    assert seconds(config, step=6) == pytest.approx(2 * (6 * 6 + 6 * 8))
    assert seconds(config, step=12) == 0


def test_what_runs_have_in_common_is_counted_with_the_first() -> None:
    one = ScheduleConfig(warm_up_steps=4, stage_steps=(6,))
    two = ScheduleConfig(warm_up_steps=4, stage_steps=(6, 5))
    runs = [
        tiny_config("supervised", schedule=one),
        tiny_config("iml", schedule=one),
        tiny_config("rml", schedule=one),  # the warm-up of iml
        tiny_config("rml", schedule=two),  # the first stage of the run before
        tiny_config("mean_teacher", schedule=one),  # one student: a warm-up of its own
        tiny_config("iml", schedule=one, seed=1),
    ]

    def begin(splits: list[str]) -> tuple[int, ...]:
        pairs = zip(runs, splits, strict=True)
        return first_steps(
            stage_costs(run, None, split_hash=split, data_hash="data") for run, split in pairs
        )

    assert begin(["split"] * 6) == (0, 0, 4, 10, 0, 0)
    assert begin([f"split {i}" for i in range(6)]) == (0,) * 6


@pytest.mark.parametrize("method", METHOD_CONFIGS)
def test_every_method_costs_something_and_more_the_longer_it_trains(method: str) -> None:
    lengths = ((4, 4), (4, 8))  # two stages, because DMT has as many phases
    short, long = (
        tiny_config(method, schedule=ScheduleConfig(warm_up_steps=4, stage_steps=n))
        for n in lengths
    )
    first = seconds(short)
    second = seconds(long)
    assert first is not None and second is not None and 0 < first < second


@pytest.mark.parametrize(
    ("resources", "machine", "number"),
    [
        (ResourcesConfig(), Machine(cores=2, gpus=0), 2),
        (ResourcesConfig(cpus_per_worker=4), Machine(cores=16, gpus=2), 2),
        (ResourcesConfig(cpus_per_worker=2, gpus_per_worker=0.5), Machine(cores=16, gpus=2), 4),
        (ResourcesConfig(workers=2), Machine(cores=16, gpus=4), 2),
        (ResourcesConfig(workers=4), Machine(cores=2, gpus=0), 1),
    ],
)
def test_runs_at_once(resources: ResourcesConfig, machine: Machine, number: int) -> None:
    assert runs_at_once(resources, machine) == number
