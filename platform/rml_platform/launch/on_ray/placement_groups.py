"""The placement groups of our launches: named after their launch, and removed when nobody is behind
them any more."""

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import ray
from ray import PlacementGroupID, tune
from ray.core.generated import gcs_pb2
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group

from rml_platform.launch.session.ray_environment import LAUNCH_MARK

STATE = gcs_pb2.PlacementGroupTableData.PlacementGroupState
WAITING = (STATE.PENDING, STATE.PREPARED, STATE.RESCHEDULING)
"""States of a group that has not got its room yet, or not again."""


class NamedGroup(tune.PlacementGroupFactory):  # type: ignore[misc]
    """Tune's request for a group; every group made of it gets a name of its own that begins as the
    request's does. Ray takes no name twice, and Tune makes many groups of equal requests."""

    def to_placement_group(self) -> PlacementGroup:
        wanted = dict(self._bound.arguments)
        wanted["name"] = f"{wanted['name']}.{uuid.uuid4().hex[:8]}"
        return placement_group(**wanted)


def remove_orphans() -> int:
    """Remove the groups of launches whose maker is dead, this launch's or an earlier one's; returns
    how many there were.

    Ray itself needs its dashboard for that, and not always succeeds. Groups of other people's jobs
    are never touched.
    """
    orphans = [group for group in _groups() if group.is_orphan]
    for group in orphans:
        remove_placement_group(PlacementGroup(group.id))
    return len(orphans)


def remove_own() -> int:
    """Remove every group of this launch, which is over; returns how many there were."""
    own = ray.get_runtime_context().get_job_id()
    left = [group for group in _groups() if group.job_id == own]
    for group in left:
        remove_placement_group(PlacementGroup(group.id))
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
    state = ray._private.state.state
    state._connect_and_get_accessor()
    accessor = state._global_state_accessor
    jobs = (gcs_pb2.JobTableData.FromString(raw) for raw in accessor.get_job_table())
    ours = {job.job_id for job in jobs if LAUNCH_MARK in job.config.metadata}
    found = map(gcs_pb2.PlacementGroupTableData.FromString, accessor.get_placement_group_table())
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


def _is_maker_dead(group: Any) -> bool:
    """A group that a driver made has no maker among the actors, and is told to be a dead one's."""
    by_actor = set(group.creator_actor_id) != {0xFF}
    return by_actor and bool(group.creator_actor_dead)
