"""Runs that wait for what will not come are taken back."""

import errno
import os
import time
from collections.abc import Collection
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from ray import tune
from ray.tune.experiment import Trial

from rml_platform.launch.on_ray import withdrawal as module
from rml_platform.launch.on_ray.fleet.room import Node
from rml_platform.launch.on_ray.withdrawal import Bundle, InOrder, Withdrawal

OFF_A = {"ray.io/node-id": "!in(a)"}


def nodes(names: str) -> list[Node]:
    """Nodes with four cores, but for a small one called `s`."""
    return [
        Node(
            id=name,
            host=name,
            resources={"CPU": 1.0 if name == "s" else 4.0},
            labels={"ray.io/node-id": name, "zone": "x"},
        )
        for name in names
    ]


@pytest.mark.parametrize(
    ("there", "labels", "is_stuck"),
    [
        ("ab", OFF_A, False),
        ("a", OFF_A, True),
        ("a", OFF_A | {"zone": "x"}, True),
        ("a", OFF_A | {"zone": "y"}, False),
        ("as", OFF_A, True),
        ("s", OFF_A, False),
        ("", OFF_A, False),
        ("a", {}, False),
    ],
)
def test_a_request_is_stuck_where_only_nodes_that_it_keeps_off_could_take_it(
    there: str, labels: dict[str, str], is_stuck: bool
) -> None:
    assert Bundle({"CPU": 2.0}, labels).is_stuck(nodes(there)) is is_stuck


def trial(run_id: str, status: str, **labels: Any) -> Any:
    request = tune.PlacementGroupFactory([{"CPU": 2}], **labels)
    return SimpleNamespace(
        config={"run_id": run_id}, status=status, placement_group_factory=request
    )


def test_a_run_that_is_wanted_no_longer_gives_up_its_request() -> None:
    happened: list[str] = []
    in_order = InOrder()
    trials = [trial(name, Trial.PENDING) for name in ("late", "wanted")]
    trials.append(trial("trains", Trial.RUNNING))
    stop = SimpleNamespace(stop_trial=lambda trial: happened.append(trial.config["run_id"]))
    in_order.on_trial_add(stop, trials[0])
    withdrawal = Withdrawal(
        in_order,
        unusable=frozenset,
        on_withdrawn=pytest.fail,
        on_note=lambda text: happened.append(text),
        why_unwanted=lambda waiting: {"late": "cancelled"} if "late" in waiting else {},
        look=lambda: nodes("ab"),
    )
    withdrawal.on_step_end(1, trials)
    assert happened == ["late waits for room no longer: cancelled", "late"]


def test_an_outage_takes_no_run_back_and_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.0)
    happened: list[str] = []
    away: list[OSError] = [OSError(errno.ESTALE, os.strerror(errno.ESTALE))]

    def why_unwanted(waiting: Collection[str]) -> dict[str, str]:
        if away:
            raise away[0]
        return dict.fromkeys(waiting, "cancelled")

    in_order = InOrder()
    late = trial("late", Trial.PENDING)
    stop = SimpleNamespace(stop_trial=lambda trial: happened.append(trial.config["run_id"]))
    in_order.on_trial_add(stop, late)
    withdrawal = Withdrawal(
        in_order,
        unusable=frozenset,
        on_withdrawn=pytest.fail,
        on_note=lambda text: happened.append(text),
        why_unwanted=why_unwanted,
        look=lambda: nodes("ab"),
    )
    for iteration in range(3):
        withdrawal.on_step_end(iteration, [late])
    assert happened == [f"the storage is away, runs go on waiting for room: {away[0]}"]
    away[0] = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    with pytest.raises(PermissionError):
        withdrawal.on_step_end(3, [late])
    away.clear()
    withdrawal.on_step_end(4, [late])
    assert happened[1:] == ["late waits for room no longer: cancelled", "late"]


def test_a_run_with_a_bounded_wait_is_taken_back_after_each_minute_without_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    happened: list[str] = []
    names = ("waits", "has room", "patient")
    trials = {name: trial(name, Trial.PENDING) for name in names}
    in_order = InOrder()
    controller = Mock()
    controller.stop_trial = lambda trial: happened.append(f"stopped {trial.config['run_id']}")
    controller._trial_to_actor.get = lambda one: "actor" if one is trials["has room"] else None
    controller._actor_manager.live_actors = ["actor"]
    in_order.on_trial_add(controller, trials["waits"])
    withdrawal = Withdrawal(
        in_order,
        unusable=frozenset,
        on_withdrawn=lambda run_id: happened.append(f"told {run_id}"),
        on_note=pytest.fail,
        look=lambda: nodes("ab"),
        is_bounded=lambda run_id: run_id != "patient",
    )

    def minute() -> None:
        for _ in range(int(module.ROOM_WITHIN_S / module.LOOK_EVERY_S)):
            withdrawal.on_step_end(1, list(trials.values()))
            clock[0] += module.LOOK_EVERY_S

    minute()
    assert happened == []
    withdrawal.on_step_end(1, list(trials.values()))
    assert happened == ["told waits", "stopped waits"]
    trials["waits"] = trial("waits", Trial.RUNNING)
    minute()
    trials["waits"] = trial("waits", Trial.PENDING)
    minute()
    assert happened == ["told waits", "stopped waits"], "counted afresh"
    minute()
    assert happened == ["told waits", "stopped waits"] * 2


def test_only_runs_that_wait_and_are_stuck_are_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    happened: list[str] = []
    there = ["ab"]
    in_order = InOrder()
    stop = SimpleNamespace(
        stop_trial=lambda trial: happened.append(f"stopped {trial.config['run_id']}")
    )
    off_a = {"bundle_label_selector": [OFF_A]}
    trials = [
        trial("stuck", Trial.PENDING, **off_a),
        trial("free", Trial.PENDING),
        trial("trains", Trial.RUNNING, **off_a),
    ]
    in_order.on_trial_add(stop, trials[0])
    withdrawal = Withdrawal(
        in_order,
        unusable=lambda: {"n"},
        on_withdrawn=lambda run_id: happened.append(f"told {run_id}"),
        on_note=lambda text: happened.append(text),
        look=lambda: nodes(there[0]),
    )
    withdrawal.on_step_end(1, trials)
    there[0] = "an"  # the new one has not been asked so far
    withdrawal.on_step_end(2, trials)
    assert happened == [], "a moment later nobody looks again"
    clock[0] += module.LOOK_EVERY_S
    withdrawal.on_step_end(3, trials)
    assert happened == [
        "stuck has waited for nodes that are gone: it may now be on one that was kept out",
        "told stuck",
        "stopped stuck",
    ]
