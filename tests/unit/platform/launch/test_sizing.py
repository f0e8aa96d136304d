"""How many runs a plan says a cluster holds: those that a launch would find to fit."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray

from rml_platform.launch import sizing
from rml_platform.launch.on_ray.fleet import fitting, room
from rml_platform.launch.on_ray.fleet.room import Node
from rml_platform.launch.output_layout import OutputLayout
from rml_platform.launch.sizing import Room, room_for
from rml_platform.planning.plan import make_plan
from rml_platform.study.schema import load_study
from rml_trainers.errors import ConfigError
from tests.support.platform.studies import SMALLEST, write_study

MIXED = [
    Node(
        id=f"n{number}",
        host=f"n{number}",
        resources={"CPU": 8.0, "GPU": 1.0, f"accelerator_type:{kind}": 1.0},
        labels={"market": market},
    )
    for number, (kind, market) in enumerate([("A100", "spot")] * 8 + [("T4", "fixed")] * 24)
]
"""32 nodes of 8 cores and one GPU; 8 of the GPUs are of one kind."""


class Cluster:
    """A cluster that a study is planned for."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.nodes = MIXED
        self.limits: Mapping[str, float] = {}
        autoscaler = SimpleNamespace(limits=lambda: self.limits, is_at_work=lambda: False)
        patch.setattr(sizing, "ray_session", lambda *_, **__: contextlib.nullcontext())
        patch.setattr(room, "nodes_now", lambda: self.nodes)
        patch.setattr(room, "autoscaler", autoscaler)
        patch.setattr(fitting, "autoscaler", autoscaler)
        patch.setattr(ray, "cluster_resources", self._resources)

    def _resources(self) -> dict[str, float]:
        names = {name for node in self.nodes for name in node.resources}
        return {name: sum(node.resources.get(name, 0.0) for node in self.nodes) for name in names}

    def room(self, resources: str, at_once: int | None = None) -> Room:
        text = f"name: tiny\n{SMALLEST}  schedule: {{warm_up_steps: 4}}\nresources: {resources}\n"
        study = load_study(write_study(self.folder, text))
        plan = make_plan(study, data_root=None, cache_root=self.folder / "cache", machine=None)
        layout = OutputLayout(root=self.folder, storage=str(self.folder))
        return room_for(plan, layout, "10.0.0.1:6379", at_once)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return Cluster(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("resources", "fit"),
    [
        ("{gpus_per_worker: 1}", 32),
        ("{gpus_per_worker: 1, accelerator: A100}", 8),
        ("{gpus_per_worker: 1, labels: {market: '!spot'}}", 24),
        ("{gpus_per_worker: 0, cpus_per_worker: 5}", 32),
        ("{gpus_per_worker: 1, workers: 2}", 16),
    ],
)
def test_a_plan_counts_the_runs_that_the_nodes_hold(
    resources: str, fit: int, cluster: Cluster
) -> None:
    found = cluster.room(resources)
    assert (found.at_once, found.gpus) == (fit, 32)
    assert found.where == "the cluster at 10.0.0.1:6379"


def test_a_person_may_say_how_many(cluster: Cluster) -> None:
    assert cluster.room("{gpus_per_worker: 1}", at_once=3).at_once == 3


def test_an_autoscaler_that_tells_how_far_it_goes_counts(cluster: Cluster) -> None:
    cluster.limits = {"CPU": 512.0, "GPU": 64.0}
    cluster.nodes = []
    found = cluster.room("{gpus_per_worker: auto}")
    assert (found.at_once, found.gpus) == (64, 64)


def test_what_the_launch_would_refuse_has_no_room(cluster: Cluster) -> None:
    with pytest.raises(ConfigError, match=r"study\.yaml: resources: one run asks for 1 × \(9 cor"):
        cluster.room("{cpus_per_worker: 9}")
