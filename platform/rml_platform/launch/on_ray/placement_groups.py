"""The placement groups of our launches: named after what they were made for, and removed when
nobody is behind them any more."""

import contextlib
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psutil
import ray
from ray import PlacementGroupID, tune
from ray.core.generated import gcs_pb2
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group

from rml_platform.launch.on_ray.nodes import call_on
from rml_platform.launch.session.ray_environment import LAUNCH_MARK
from rml_platform.run.task import RunTask

STATE = gcs_pb2.PlacementGroupTableData.PlacementGroupState
WAITING = (STATE.PENDING, STATE.PREPARED, STATE.RESCHEDULING)
"""States of a group that has not got its room yet, or not again."""

CLEANER = "PlacementGroupCleaner"
"""Class of the actor with which Ray Train removes the group of a controller that has died."""
ENDED_WITHIN_S = 30.0


class NamedGroup(tune.PlacementGroupFactory):  # type: ignore[misc]
    """Tune's request for a group, named after the launch, the run and its attempt for which it is
    made; a later run of the same size may take it over. Requests that differ in their names alone
    are equal to Tune.

    Ray Train makes the group of its workers itself, and gives it no name.
    """

    def __init__(
        self, bundles: Sequence[Mapping[str, float]], task: RunTask, **labels: Any
    ) -> None:
        super().__init__(bundles, **labels)
        self._name = f"rml.{task.launch_id}.{task.run_id}.{task.hand_out}"

    def to_placement_group(self) -> PlacementGroup:
        # Ray takes no name twice, and Tune may make several groups of one request.
        name = f"{self._name}.{uuid.uuid4().hex[:8]}"
        return placement_group(**self._bound.arguments, name=name)


def remove_orphans() -> int:
    """Remove the groups of launches whose maker is dead, this launch's or an earlier one's; returns
    how many there were.

    Ray itself needs its dashboard for that, and not always succeeds. Groups of other people's jobs
    are never touched.
    """
    orphans = [group for group in _groups() if group.is_orphan]
    for group in orphans:
        remove_placement_group(PlacementGroup(group.id))
    _end_cleaners({job.hex() for job, is_dead in _launches().items() if is_dead})
    return len(orphans)


def remove_own() -> int:
    """Remove every group of this launch, which is over; returns how many there were."""
    own = ray.get_runtime_context().get_job_id()
    left = [group for group in _groups() if group.job_id == own]
    for group in left:
        remove_placement_group(PlacementGroup(group.id))
    _end_cleaners({own})
    return len(left)


def names_of(jobs: Collection[str]) -> list[str]:
    """Names of the groups that jobs of launches hold.

    Args:
        jobs: their ids.
    """
    return [group.name for group in _groups() if group.job_id in jobs]


def is_any_waiting() -> bool:
    """Whether a group of this launch waits for room."""
    own = ray.get_runtime_context().get_job_id()
    return any(group.is_waiting for group in _groups() if group.job_id == own)


@dataclass(frozen=True)
class _Group:
    id: PlacementGroupID
    name: str
    job_id: str
    is_waiting: bool
    is_orphan: bool


def _groups() -> list[_Group]:
    """The groups that launches of ours hold on the connected Ray."""
    ours = _launches()
    table = _accessor().get_placement_group_table()
    found = map(gcs_pb2.PlacementGroupTableData.FromString, table)
    return [
        _Group(
            PlacementGroupID(group.placement_group_id),
            group.name,
            group.creator_job_id.hex(),
            is_waiting=group.state in WAITING,
            is_orphan=group.creator_job_dead or _is_maker_dead(group),
        )
        for group in found
        if group.creator_job_id in ours and group.state != STATE.REMOVED
    ]


def _launches() -> dict[bytes, bool]:
    """The jobs that are launches of ours, by id, and whether each is over."""
    jobs = (gcs_pb2.JobTableData.FromString(raw) for raw in _accessor().get_job_table())
    return {job.job_id: job.is_dead for job in jobs if LAUNCH_MARK in job.config.metadata}


def _accessor() -> Any:
    state = ray._private.state.state
    state._connect_and_get_accessor()
    return state._global_state_accessor


def _end_cleaners(jobs: Collection[str]) -> None:
    """End the cleaners of jobs that are over. One whose controller was killed ends a thread instead
    of itself and, being detached, would stay on the cluster for ever."""
    if not jobs:
        return
    actors = ray._private.state.state.actor_table(None, None, "ALIVE").values()
    for actor in actors:
        if actor["ActorClassName"] == CLEANER and actor["JobID"] in jobs:
            # A node that is gone has taken the actor with it.
            with contextlib.suppress(ray.exceptions.RayError):
                node = actor["Address"]["NodeID"]
                call_on(node, _end_cleaner, actor["Pid"], within_s=ENDED_WITHIN_S)


def _end_cleaner(pid: int) -> None:
    """Runs on the actor's node; its number may be another process's by now."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        if process.cmdline()[:1] == [f"ray::{CLEANER}"]:
            process.kill()


def _is_maker_dead(group: Any) -> bool:
    """A group that a driver made has no maker among the actors, and is told to be a dead one's."""
    by_actor = set(group.creator_actor_id) != {0xFF}
    return by_actor and bool(group.creator_actor_dead)
