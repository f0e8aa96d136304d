"""What no node can ever hold is refused before anything starts, so that nobody waits for it."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rml_platform.launch.on_ray.fleet import fitting, room
from rml_platform.launch.on_ray.fleet.room import Node
from rml_platform.run.task import RunTask
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.errors import ConfigError
from rml_trainers.runtime.options import RuntimeConfig
from tests.support.platform.fake_trainer import GOOD
from tests.support.platform.tasks import fake_config, task_for

NODES = [
    Node(id=name, host=name, resources={"CPU": 8.0, "GPU": 2.0}, labels={}) for name in ("a", "b")
]
STUDY: Any = SimpleNamespace(source="a.yaml")


@pytest.fixture
def task(tiny_data: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunTask:
    monkeypatch.setattr(fitting, "nodes_now", lambda: NODES)
    autoscaler(monkeypatch, is_at_work=False)
    task = task_for(fake_config(GOOD), tiny_data, tmp_path, "run-1")
    return replace(task, cpus_per_worker=1)


def autoscaler(
    monkeypatch: pytest.MonkeyPatch, *, is_at_work: bool, limits: dict[str, float] | None = None
) -> None:
    found = SimpleNamespace(limits=lambda: limits or {}, is_at_work=lambda: is_at_work)
    monkeypatch.setattr(room, "autoscaler", found)


TOO_LARGE: list[dict[str, Any]] = [
    {"gpus_per_worker": 4},
    {"gpus_per_worker": 1, "num_workers": 5},
    {"gpus_per_worker": 1, "num_workers": 3, "placement": "one_node"},
    {"cpus_per_worker": 9},
    {"accelerator": "A100", "gpus_per_worker": 1},
    {"labels": (("market", "spot"),)},
]


@pytest.mark.parametrize("asked", TOO_LARGE)
def test_what_no_node_holds_is_refused_where_nothing_adds_nodes(
    task: RunTask, asked: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=r"a\.yaml: resources: one run asks for .* no autoscaler"):
        fitting.check_fits(STUDY, [replace(task, **asked)])


@pytest.mark.parametrize(
    "asked", [{"gpus_per_worker": 2}, {"gpus_per_worker": 1, "num_workers": 4}, {}]
)
def test_what_the_nodes_hold_when_they_are_free_is_taken(
    task: RunTask, asked: dict[str, Any]
) -> None:
    fitting.check_fits(STUDY, [replace(task, **asked)])


@pytest.mark.parametrize("gpus", [0, 1])
def test_workers_on_a_cluster_without_gpus_have_no_batch_statistics_in_common(
    gpus: int, tiny_data: PreparedData, task: RunTask, tmp_path: Path
) -> None:
    config = replace(fake_config(GOOD), sync_batchnorm=True, runtime=RuntimeConfig(device="auto"))
    given = task_for(config, tiny_data, tmp_path, "run-1", num_workers=2, gpus_per_worker=gpus)
    if gpus:
        fitting.check_fits(STUDY, [given])
        return
    with pytest.raises(ConfigError, match=r"a\.yaml: sync_batchnorm = true: the 2 workers"):
        fitting.check_fits(STUDY, [given])


def test_an_autoscaler_that_tells_how_far_it_goes_is_believed(
    task: RunTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    autoscaler(monkeypatch, is_at_work=True, limits={"CPU": 64.0, "GPU": 8.0})
    fitting.check_fits(STUDY, [replace(task, gpus_per_worker=8)])
    with pytest.raises(ConfigError, match="one run asks for"):
        fitting.check_fits(STUDY, [replace(task, gpus_per_worker=9)])
