"""Which nodes of the connected Ray an attempt may be on, and what is done on one of them."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rml_platform.launch.on_ray.fleet.room import nodes_now, open_to, workers_on
from rml_platform.run.faults.repeated import check_needed
from rml_platform.run.task import RunTask

Found = TypeVar("Found")

LOOKS_UP_EVERY_S = 1.0
"""Whoever waits for Ray looks up so often: nothing may wait for it any more when it ends."""

NODE_ID = "ray.io/node-id"
"""Label that Ray gives every node."""


@dataclass(frozen=True)
class Places:
    """Ids of the nodes that are alive, for one run."""

    open: frozenset[str]
    """Those that it may be on, which are large enough for one of its workers."""
    kept_out: frozenset[str]
    """Those that it keeps off although they could take it: those to avoid, where the others that
    are alive hold the run; none of them where they do not."""


def places(task: RunTask) -> Places:
    """Where a run may be as the cluster is now, whoever uses it."""
    nodes = [node for node in nodes_now() if node.id not in task.unusable]
    left = open_to(task, nodes, task.avoid)
    return Places(
        open=frozenset(node.id for node in left if workers_on(node, task) > 0),
        kept_out=frozenset(node.id for node in nodes) - {node.id for node in left},
    )


def kept_out(task: RunTask) -> frozenset[str]:
    """Ids of the nodes that a run keeps off now although they could take it."""
    # Most runs have none to avoid, and each look is a question to the head.
    return places(task).kept_out if task.avoid else frozenset()


def off(nodes: Iterable[str]) -> dict[str, str]:
    """Label selector for every node but some; empty where all will do."""
    nodes = set(nodes)
    if not nodes:
        return {}
    alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
    out = sorted(alive.intersection(nodes))
    return {NODE_ID: f"!in({','.join(out)})"} if out else {}


def label_selector(task: RunTask) -> dict[str, str]:
    """Where a run may be: on nodes with the labels that its study asks for, not on those that it
    has to keep off."""
    return dict(task.labels) | off(kept_out(task).union(task.unusable))


def free_by_node() -> Mapping[str, Mapping[str, float]]:
    """What nobody uses at the moment, by node and resource."""
    found: dict[str, dict[str, float]] = ray._private.state.available_resources_per_node()
    return found


def call_on(node: str, work: Callable[..., Found], *arguments: Any, within_s: float) -> Found:
    """What a function of this package returns on a node, where it takes no core.

    Args:
        node: id of the node.
        work: a plain function that can be imported there, by its module or through its class
            (`Process.send`); not a classmethod or a bound method.
        within_s: how long a process for it may take to start, and the function to return.
    Raises:
        ray.exceptions.RayError: the node is gone, or takes longer.
    """
    on_it = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
    task = ray.remote(num_cpus=0, max_retries=0)(work).options(scheduling_strategy=on_it)
    found: Found = get_within(task.remote(*arguments), within_s)
    return found


def get_within(reference: Any, within_s: float) -> Any:
    """What a reference of Ray stands for; not in one long wait, so that a thread of `repeated` ends
    with its context.

    Raises:
        ray.exceptions.RayError: it failed, or is not there after `within_s`.
        NoLongerNeeded: the context was left.
    """
    until_s = time.monotonic() + within_s
    while True:
        check_needed()
        left_s = max(0.0, until_s - time.monotonic())
        try:
            return ray.get(reference, timeout=min(left_s, LOOKS_UP_EVERY_S))
        except ray.exceptions.GetTimeoutError:
            if left_s <= LOOKS_UP_EVERY_S:
                raise
