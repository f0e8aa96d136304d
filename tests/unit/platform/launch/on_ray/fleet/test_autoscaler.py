"""A cluster that something makes grow: what is known of it, and what follows for a launch."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
import ray

from rml_platform.launch.on_ray.fleet import fitting
from rml_platform.launch.on_ray.fleet import room as module
from rml_platform.launch.on_ray.fleet.autoscaler import adds_nodes
from rml_platform.launch.on_ray.fleet.room import Node
from rml_platform.run.task import RunTask
from rml_platform.study.study_file import ResourcesConfig
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.errors import ConfigError
from tests.support.platform.fake_trainer import GOOD
from tests.support.platform.tasks import fake_config, task_for


@pytest.fixture
def task(tiny_data: PreparedData) -> RunTask:
    return task_for(fake_config(GOOD), tiny_data, Path("x"), "run", cpus_per_worker=1)


def a_study(gpus: float | Literal["auto"]) -> Any:
    """What is asked of a study here."""
    return SimpleNamespace(source="a.yaml", resources=ResourcesConfig(gpus_per_worker=gpus))


NODE = Node(id="a", host="a", resources={"CPU": 2}, labels={})


class Grows:
    """An autoscaler: what it tells of its limits, and whether it is at work."""

    def __init__(self, most: dict[str, float] | None = None, *, is_at_work: bool = True) -> None:
        self._most = most or {}
        self._is_at_work = is_at_work

    def limits(self) -> dict[str, float]:
        return self._most

    def is_at_work(self) -> bool:
        return self._is_at_work


@pytest.mark.parametrize(
    "autoscaler, most",
    [
        (Grows({"CPU": 40.0, "GPU": 0.0}), 40),
        (Grows(), 2 + module.AHEAD),  # what the nodes hold, and some that wait
        (Grows(is_at_work=False), 0),
    ],
)
def test_runs_that_are_handed_out_for_an_autoscaler(
    autoscaler: Grows, most: int, task: RunTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "autoscaler", autoscaler)
    assert module.most_by_autoscaler(task, [NODE]) == most


@pytest.mark.parametrize(
    "autoscaler, now, there",
    [
        (Grows(is_at_work=False), {}, 0),
        (Grows(), {"GPU": 8.0}, 8),
        (Grows({"GPU": 64.0}), {"GPU": 8.0}, 64),
        (Grows({"CPU": 64.0}), {}, 0),
    ],
)
def test_gpus_that_are_there_or_may_come(
    autoscaler: Grows, now: dict[str, float], there: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "autoscaler", autoscaler)
    monkeypatch.setattr(ray, "cluster_resources", lambda: now)
    assert fitting.gpus_there([a_study("auto")]) == there


def test_a_study_says_whether_it_wants_gpus_where_an_autoscaler_does_not_tell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fitting, "autoscaler", Grows())
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 4.0})
    with pytest.raises(ConfigError, match=r"gpus_per_worker: 1, or 0 to train without"):
        fitting.gpus_there([a_study("auto")])
    assert fitting.gpus_there([a_study(0), a_study(1)]) == 0


@pytest.mark.parametrize(
    "status, is_growing",
    [
        ({"autoscaler_report": {"node_type_mapping": {"10.0.0.1": "ray.head.default"}}}, True),
        ({"autoscaler_report": {"node_type_mapping": {"10.0.0.1": "node_0a1b"}}}, False),
        ({"autoscaler_report": {"node_type_mapping": None}}, False),
        ({"load_metrics_report": {}}, False),
    ],
)
def test_the_older_autoscaler_is_told_from_a_cluster_made_by_hand(
    status: dict[str, object], is_growing: bool
) -> None:
    assert adds_nodes(status) is is_growing
