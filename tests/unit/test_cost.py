"""Estimates of what is left: from measured runs of the same method, or not at all."""

import pytest

from rml_platform.cost import Estimate, RunCost, estimate, runs_at_once
from rml_platform.machine import Machine
from rml_platform.study_file import ResourcesConfig


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
