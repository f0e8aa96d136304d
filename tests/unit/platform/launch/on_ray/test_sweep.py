"""What is given to Ray Tune for each run."""

import copy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray import cloudpickle
from ray.tune.experiment import Trial

from rml_platform.launch.on_ray import placement_groups
from rml_platform.launch.on_ray.placement_groups import NamedGroup
from rml_platform.launch.on_ray.sweep import TASK, Handout, _cell, _task_of
from rml_platform.launch.on_ray.withdrawal import InOrder
from rml_platform.launch.run_queue import RunQueue
from rml_platform.run.task import RunTask
from rml_platform.study.retry_config import RetryConfig
from rml_trainers.data.prepared.cache import PreparedData
from tests.support.platform.fake_trainer import GOOD
from tests.support.platform.tasks import fake_config, task_for


def tasks(number: int, data: PreparedData, out: Path) -> list[RunTask]:
    one = task_for(fake_config(GOOD), data, out, "run")
    return [replace(one, run_id=f"run-{i}") for i in range(number)]


def test_what_is_loaded_for_a_run_holds_no_runs() -> None:
    assert len(cloudpickle.dumps(_cell(None))) < 4000


def test_a_group_is_named_after_its_run_and_attempt_and_serves_others_of_its_size(
    tiny_data: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[dict[str, Any]] = []
    monkeypatch.setattr(placement_groups, "placement_group", lambda **what: made.append(what))
    first, second = tasks(2, tiny_data, tmp_path)
    first, second = (replace(task, launch_id="launch-1", hand_out=7) for task in (first, second))
    group, other = (NamedGroup([{"CPU": 1}], task) for task in (first, second))
    assert (group == other, hash(group) == hash(other)) == (True, True)
    assert group != NamedGroup([{"CPU": 2}], first)
    copy.deepcopy(group).to_placement_group()  # by what it says of itself, as when it is sent
    group.to_placement_group()
    other.to_placement_group()
    names = [str(what.pop("name")) for what in made]
    assert [name.rpartition(".")[0] for name in names] == [
        "rml.launch-1.run-0.7",
        "rml.launch-1.run-0.7",
        "rml.launch-1.run-1.7",
    ]
    assert len(set(names)) == 3, "Ray takes no name twice"
    assert made == [{"bundles": [{"CPU": 1.0}], "strategy": "PACK"}] * 3


def test_a_run_travels_with_all_that_was_decided_about_it(
    tiny_data: PreparedData, tmp_path: Path, monkeypatch: Any
) -> None:
    asked: list[str] = []

    def remove_orphans() -> int:
        asked.append("groups")
        return 0

    monkeypatch.setattr("rml_platform.launch.on_ray.sweep.remove_orphans", remove_orphans)
    first, second = tasks(2, tiny_data, tmp_path)
    first = replace(first, micro_batches=4, avoid=("bad",))
    queue = RunQueue([first, second], RetryConfig(), asked.append)
    room: Any = SimpleNamespace(has_room=lambda under_way: True)
    handout = Handout(queue, room, lambda: {"z", "new"}, {}, asked.append)
    config = handout.suggest("trial-1")
    assert isinstance(config, dict)
    assert _task_of(config) == replace(first, unusable=("new", "z"))
    assert isinstance(config[TASK], str)
    handout.suggest("trial-2")
    assert asked == ["groups"], "asked once: nothing has died since"


def test_trials_begin_in_their_order_and_those_that_ended_are_not_looked_at_again() -> None:
    in_order = InOrder()
    waiting = [SimpleNamespace(status=Trial.PENDING) for _ in range(3)]
    for trial in waiting:
        in_order.on_trial_add("the controller", trial)
    assert in_order.choose_trial_to_run("the controller") is waiting[0]
    assert in_order.choose_trial_to_run("the controller") is waiting[0]
    waiting[1].status = Trial.TERMINATED
    waiting[0].status = Trial.RUNNING
    assert in_order.choose_trial_to_run("the controller") is waiting[2]
    waiting[2].status = Trial.ERROR
    assert in_order.choose_trial_to_run("the controller") is None
