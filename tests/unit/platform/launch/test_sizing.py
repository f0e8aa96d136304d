"""How many runs a plan says a cluster holds: those that a launch would find to fit."""

import contextlib
import socket
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
from rml_platform.planning.costs.kinds import kind_of
from rml_platform.planning.costs.measured import Probe, write_probe
from rml_platform.planning.plan import make_plan
from rml_platform.study.schema import load_study
from rml_trainers.errors import ConfigError
from tests.support.platform.command import rml
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

    def study(self, resources: str) -> Path:
        text = f"name: tiny\n{SMALLEST}  schedule: {{warm_up_steps: 4}}\nresources: {resources}\n"
        return write_study(self.folder, text)

    def room(self, resources: str, at_once: int | None = None) -> Room:
        study = load_study(self.study(resources))
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


def test_the_kinds_of_gpu_that_a_run_may_get_are_known(cluster: Cluster) -> None:
    assert cluster.room("{gpus_per_worker: 1}").gpu_kinds == ("A100", "T4")
    assert cluster.room("{gpus_per_worker: 1, labels: {market: spot}}").gpu_kinds == ("A100",)
    assert cluster.room("{gpus_per_worker: 1, accelerator: T4}").gpu_kinds == ("T4",)


@pytest.mark.parametrize(
    ("resources", "device", "is_known"),
    [
        ("{gpus_per_worker: 1, accelerator: A100}", "NVIDIA A100-SXM4-80GB", True),
        ("{gpus_per_worker: 1, accelerator: A100}", "NVIDIA H200", False),
        ("{gpus_per_worker: 1}", "NVIDIA A100-SXM4-80GB", False),
        ("{gpus_per_worker: 0}", "1 cores", True),
        ("{gpus_per_worker: auto}", "1 cores", False),
    ],
)
def test_the_plan_of_a_cluster_goes_by_probes_of_its_devices(
    resources: str, device: str, is_known: bool, cluster: Cluster
) -> None:
    """A GPU of the launcher, or its cores, says nothing of the cluster's."""
    study = cluster.study(resources)
    (run,) = make_plan(load_study(study), data_root=None, cache_root=cluster.folder / "cache").runs
    probe = Probe(
        kind=kind_of(run.config),
        machine=f"{device} of {socket.gethostname()}",
        warm_up_s=3600,
        stage_s=1,
        evaluation_s=0,
        evaluation_every=0,
        run_bytes=1,
        time=0,
    )
    write_probe(cluster.folder, probe)
    said = rml("plan", study, "--out", cluster.folder, "--address", "10.0.0.1:6379")
    assert ("how long they take is unknown" in said) is not is_known


def test_the_launcher_is_not_probed_for_a_cluster(cluster: Cluster) -> None:
    study = cluster.study("{gpus_per_worker: 1}")
    with pytest.raises(ConfigError, match=r"^--probe measures this machine, .* 10\.0\.0\.1:6379: "):
        rml("plan", study, "--out", cluster.folder, "--address", "10.0.0.1:6379", "--probe")
