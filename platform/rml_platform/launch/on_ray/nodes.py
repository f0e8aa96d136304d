"""Which nodes of the connected Ray an attempt may be on."""

from collections.abc import Sequence

import ray

from rml_platform.run.task import RunTask

NODE_ID = "ray.io/node-id"
"""Label that Ray gives every node."""


def elsewhere(avoid: Sequence[str], never: Sequence[str] = ()) -> dict[str, str]:
    """Label selector for every node but some.

    Args:
        avoid: nodes that are taken all the same where no other is left.
        never: nodes that are not.
    """
    alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
    out = alive.intersection(never)
    if alive.difference(out, avoid):
        out |= alive.intersection(avoid)
    return {NODE_ID: f"!in({','.join(sorted(out))})"} if out else {}


def label_selector(task: RunTask) -> dict[str, str]:
    """Where a run may be: on nodes with the labels that its study asks for, not on those that it
    has to keep off."""
    return dict(task.labels) | elsewhere(task.avoid, task.unusable)


def cluster_resources() -> dict[str, float]:
    """What the connected Ray has in all, by resource."""
    return dict(ray.cluster_resources())
