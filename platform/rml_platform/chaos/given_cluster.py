"""A cluster that was there before: it is seen, and its processes are reached, through Ray alone.

Nothing is done to its nodes, and nothing to what is not of a launch of the round. What is asked of
a node is asked of a task on it that takes no core.
"""

import contextlib
import os
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any

import psutil

from rml_platform.chaos.cluster import RAYS_OWN
from rml_platform.chaos.grounds import SOON_S
from rml_platform.chaos.launches import POLL_S, Launch, title
from rml_platform.chaos.targets import DONE_WITHIN_S, Target
from rml_platform.run.run_folder import Heartbeat
from rml_platform.run.task import Process

OF_RAYLET = "RAY_RAYLET_PID"
OF_JOB = "RAY_JOB_ID"
"""What Ray writes into the environment of its processes, and these hand on to what they start."""


@dataclass(frozen=True)
class Actor:
    """One that lives."""

    name: str
    """Of its class."""
    job: str
    node: str
    pid: int


class GivenCluster:
    """The cluster at an address, connected to while the context is open."""

    name = "cluster"

    def __init__(self, address: str) -> None:
        self._address = address
        self._earlier_jobs = frozenset[str]()
        self._taken_before: dict[str, float] = {}

    def __enter__(self) -> "GivenCluster":
        from rml_platform.launch.session.ray_session import ray_session

        self._session = ExitStack()
        session: AbstractContextManager[None] = ray_session(self._address, with_train=False)
        self._session.enter_context(session)
        return self

    def __exit__(self, *error: Any) -> bool | None:
        return self._session.__exit__(*error)

    def options(self) -> list[str]:
        return ["--address", self._address]

    def trains(self, beat: Heartbeat) -> bool:
        return any((one.node, one.pid) == (beat.node, beat.worker.pid) for one in living_actors())

    def trainer(self, beat: Heartbeat) -> Target:
        return Target(beat.worker, "the trainer", beat.node)

    def actors(self, name: str, launches: Sequence[Launch]) -> list[Target]:
        end = time.monotonic() + SOON_S
        while not (found := self._named(name, launches)) and time.monotonic() < end:
            time.sleep(POLL_S)
        return [target for one in found if (target := _target(one)) is not None]

    def _named(self, name: str, launches: Sequence[Launch]) -> list[Actor]:
        jobs = self._jobs_of(launches)
        return [one for one in living_actors() if one.job in jobs and name in one.name]

    def heal(self) -> None: ...

    def make_room(self) -> None: ...

    def forget_left(self) -> None:
        self._earlier_jobs = frozenset(job["JobID"] for job in jobs_known())
        self._taken_before = taken()

    def left(self, launches: Sequence[Launch]) -> list[str]:
        """Placement groups, actors and processes of the launches' jobs; and cores and GPUs, as long
        as there is no other job that may have taken them. Temporary folders of other machines are
        not seen."""
        from rml_platform.launch.on_ray.placement_groups import names_of

        jobs = self._jobs_of(launches)
        found = [f"placement group {name}" for name in names_of(jobs)]
        ours = [one for one in living_actors() if one.job in jobs]
        actors = [one for one in ours if not f"ray::{one.name}".startswith(RAYS_OWN)]
        found += [f"actor {one.name} (process {one.pid}, node {one.node[:8]})" for one in actors]
        found += [text for node in living_nodes() for text in _processes_on(node, jobs)]
        return [*found, *([] if self._is_shared(jobs) else self._still_taken())]

    def _jobs_of(self, launches: Sequence[Launch]) -> frozenset[str]:
        """Ids of the jobs of this round's launches: drivers on this machine, as this process is."""
        known = jobs_known()
        own = own_job()
        (here,) = (job["DriverIPAddress"] for job in known if job["JobID"] == own)
        pids = {launch.process.pid for launch in launches}
        return frozenset(
            job["JobID"]
            for job in known
            if job["DriverIPAddress"] == here and job["DriverPid"] in pids
        ).difference(self._earlier_jobs)

    def _is_shared(self, jobs: Collection[str]) -> bool:
        others = {job["JobID"] for job in jobs_known() if not job["IsDead"]}
        return bool(others.difference(jobs, {own_job()}))

    def _still_taken(self) -> list[str]:
        more = {name: n - self._taken_before.get(name, 0) for name, n in taken().items()}
        return [f"{n:g} {name} taken" for name, n in more.items() if n > 0]


def living_actors() -> list[Actor]:
    """Of the whole cluster."""
    import ray

    table = ray._private.state.state.actor_table(None, None, "ALIVE").values()
    return [
        Actor(one["ActorClassName"], one["JobID"], one["Address"]["NodeID"], one["Pid"])
        for one in table
    ]


def jobs_known() -> list[dict[str, Any]]:
    """Every job that the cluster remembers."""
    import ray

    found: list[dict[str, Any]] = ray._private.state.state.job_table()
    return found


def own_job() -> str:
    """Id of what this process is to the cluster."""
    import ray

    found: str = ray.get_runtime_context().get_job_id()
    return found


def living_nodes() -> list[str]:
    """Ids of the nodes that are alive."""
    import ray

    return [node["NodeID"] for node in ray.nodes() if node["Alive"]]


def taken() -> dict[str, float]:
    """Cores and GPUs that are not free."""
    import ray

    there = ray.cluster_resources()
    free = ray.available_resources()
    return {name: there.get(name, 0.0) - free.get(name, 0.0) for name in ("CPU", "GPU")}


def processes_here(jobs: Collection[str]) -> list[str]:
    """What lives of jobs on the node whose task this is, in words."""
    raylet = os.environ[OF_RAYLET]
    return [
        f"process {process.pid} ({title(process)})"
        for process, environment in _environments()
        if environment.get(OF_JOB) in jobs
        and environment.get(OF_RAYLET) == raylet
        and not title(process).startswith(RAYS_OWN)
    ]


def process_here(pid: int) -> Process:
    """A process of the node whose task this is."""
    return Process.of(pid)


def _environments() -> Iterator[tuple[psutil.Process, dict[str, str]]]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE:
                yield process, process.environ()


def _processes_on(node: str, jobs: Collection[str]) -> list[str]:
    """A node that goes meanwhile has nothing left on it."""
    import ray

    from rml_platform.launch.on_ray.nodes import call_on

    try:
        found = call_on(node, processes_here, jobs, within_s=DONE_WITHIN_S)
    except ray.exceptions.RayError as error:
        if node not in living_nodes():
            return []
        return [f"node {node[:8]} does not say what is left on it ({type(error).__name__})"]
    return [f"{text} on node {node[:8]}" for text in found]


def _target(actor: Actor) -> Target | None:
    """None where the actor's node goes before it says when its process has started."""
    import ray

    from rml_platform.launch.on_ray.nodes import call_on

    with contextlib.suppress(ray.exceptions.RayError):
        process = call_on(actor.node, process_here, actor.pid, within_s=DONE_WITHIN_S)
        return Target(process, actor.name, actor.node)
    return None
