"""What is seen of a cluster through Ray, and how its processes are reached; without Ray."""

import signal
import time
from collections.abc import Callable
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest

from rml_platform.chaos import given_cluster
from rml_platform.chaos.arena import Arena, MissedError
from rml_platform.chaos.faults import files, processes
from rml_platform.chaos.given_cluster import Actor, GivenCluster
from rml_platform.chaos.launches import Launch
from rml_platform.chaos.targets import Target
from rml_platform.launch.on_ray import nodes, placement_groups
from rml_platform.run.run_folder import Heartbeat, RunFolder
from rml_platform.run.task import Process

ELSEWHERE = Process(host="elsewhere", pid=7, started="100")
BEAT = Heartbeat(
    launch_id="launch",
    launcher=Process(host="here", pid=1, started="1"),
    worker=ELSEWHERE,
    device="cpu",
    attempt=1,
    launch_attempt=1,
    node="node-b",
    step=5,
)
LAUNCH = cast(Launch, SimpleNamespace(process=SimpleNamespace(pid=1)))
OWN = {"JobID": "01", "DriverIPAddress": "10.0.0.1", "DriverPid": 99, "IsDead": False}
OF_LAUNCH = {"JobID": "02", "DriverIPAddress": "10.0.0.1", "DriverPid": 1, "IsDead": True}
TRAINS = Actor("RayTrainWorker", "02", "node-b", 7)

Called = list[tuple[str, Callable[..., Any], tuple[Any, ...]]]


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """That the cluster knows; to be changed."""
    known: list[dict[str, Any]] = [OWN]
    monkeypatch.setattr(given_cluster, "jobs_known", lambda: known)
    monkeypatch.setattr(given_cluster, "own_job", lambda: "01")
    return known


@pytest.fixture
def actors(monkeypatch: pytest.MonkeyPatch) -> list[Actor]:
    """That live; to be changed."""
    living: list[Actor] = []
    monkeypatch.setattr(given_cluster, "living_actors", lambda: living)
    monkeypatch.setattr(given_cluster, "SOON_S", 0.0)
    return living


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> Called:
    """What nodes were asked to do; each does it and finds the process."""
    found: Called = []

    def call_on(node: str, work: Callable[..., Any], *args: Any, within_s: float) -> Any:
        found.append((node, work, args))
        return [] if work is given_cluster.processes_here else True

    monkeypatch.setattr(nodes, "call_on", call_on)
    return found


@pytest.fixture
def arena(idle_arena: Arena, jobs: list[dict[str, Any]], actors: list[Actor]) -> Arena:
    """A round whose one run is trained on another machine."""
    jobs.append(OF_LAUNCH)
    actors.append(TRAINS)
    idle_arena.grounds = GivenCluster("auto")
    idle_arena.launches.append(cast(Launch, SimpleNamespace(exit_code=None, **vars(LAUNCH))))
    RunFolder.of(str(idle_arena.out), "run-1").write_heartbeat(BEAT)
    return idle_arena


def test_a_run_on_another_machine_is_trained_as_long_as_its_actor_lives(
    arena: Arena, actors: list[Actor]
) -> None:
    assert list(arena.workers()) == ["run-1"]
    assert arena.until(0.5)
    actors.clear()
    assert arena.workers() == {}


def test_a_worker_on_another_machine_is_struck_there(arena: Arena, called: Called) -> None:
    said = processes.on_worker(signal.SIGSEGV)(arena, Random(0))
    assert called == [("node-b", Process.send, (ELSEWHERE, signal.SIGSEGV))]
    assert said == "SIGSEGV to process 7 on elsewhere, which trains run-1"


def test_a_worker_stands_still_and_goes_on(
    arena: Arena, called: Called, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    processes.worker_stopped_for_a_while(arena, Random(0))
    assert [args[1] for _, _, args in called] == [signal.SIGSTOP, signal.SIGCONT]


def test_a_process_that_is_gone_is_missed(arena: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "call_on", lambda *args, **options: False)
    with pytest.raises(MissedError, match="process 7 on elsewhere had ended by then"):
        processes.on_worker(signal.SIGKILL)(arena, Random(0))
    with pytest.raises(MissedError, match="process 7 on elsewhere had ended by then"):
        files.disk_full(arena, Random(0))


def test_a_node_that_is_gone_takes_its_processes_along(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.exceptions import GetTimeoutError

    def call_on(*args: Any, **options: Any) -> bool:
        raise GetTimeoutError("the node is gone")

    monkeypatch.setattr(nodes, "call_on", call_on)
    assert not Target(ELSEWHERE, "the trainer", "node-b").send(signal.SIGKILL)


def test_actors_of_this_rounds_launches_alone_are_struck(
    arena: Arena, actors: list[Actor], monkeypatch: pytest.MonkeyPatch
) -> None:
    actors.append(Actor("TrainController", "77", "node-a", 3))
    actors.append(Actor("TrainController", "02", "node-b", 4))
    started = Process(host="elsewhere", pid=4, started="50")
    monkeypatch.setattr(nodes, "call_on", lambda *args, **options: started)
    (found,) = arena.grounds.actors("TrainController", [LAUNCH])
    assert found == Target(started, "TrainController", "node-b")
    assert arena.grounds.actors("TrainController", []) == []


def test_what_launches_leave_on_the_cluster_is_seen(
    jobs: list[dict[str, Any]],
    actors: list[Actor],
    called: Called,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    busy = {"CPU": 1.0, "GPU": 0.0}
    groups = {"02": ["group-of-the-launch"], "77": ["group-of-another"]}
    monkeypatch.setattr(given_cluster, "taken", lambda: busy)
    monkeypatch.setattr(given_cluster, "living_nodes", lambda: ["node-a", "node-b"])
    monkeypatch.setattr(
        placement_groups, "names_of", lambda jobs: [name for job in jobs for name in groups[job]]
    )
    grounds = GivenCluster("auto")
    grounds.forget_left()
    jobs.append(OF_LAUNCH)
    actors.append(TRAINS)
    actors.append(Actor("_AutoscalingCoordinatorActor", "02", "node-b", 8))  # Ray's own, stays
    busy = {"CPU": 3.0, "GPU": 0.0}
    assert grounds.left([LAUNCH]) == [
        "placement group group-of-the-launch",
        "actor RayTrainWorker (process 7, node node-b)",
        "2 CPU taken",
    ]
    assert [(node, args) for node, _, args in called] == [
        ("node-a", (frozenset({"02"}),)),
        ("node-b", (frozenset({"02"}),)),
    ]
    jobs.append({**OWN, "JobID": "77", "DriverPid": 5})
    assert "2 CPU taken" not in grounds.left([LAUNCH]), "another job may have taken them"
    grounds.forget_left()
    assert grounds.left([LAUNCH]) == [], "they were there before the round"


def test_processes_of_a_job_are_found_by_what_ray_wrote_into_their_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def process(pid: int, raylet: str, job: str, name: str) -> tuple[Any, dict[str, str]]:
        named = SimpleNamespace(pid=pid, cmdline=lambda: [f"ray::{name}"])
        return named, {"RAY_RAYLET_PID": raylet, "RAY_JOB_ID": job}

    there = [
        process(1, "10", "02", "Trains"),
        process(2, "10", "02", "IDLE"),
        process(3, "10", "03", "Trains"),
        process(4, "11", "02", "Trains"),
    ]
    monkeypatch.setattr(given_cluster, "_environments", lambda: iter(there))
    monkeypatch.setenv("RAY_RAYLET_PID", "10")
    assert given_cluster.processes_here({"02"}) == ["process 1 (ray::Trains)"]
