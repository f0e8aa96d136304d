"""Which nodes of the connected Ray an attempt may be on."""

from collections.abc import Sequence

import ray

NODE_ID = "ray.io/node-id"
"""Label that Ray gives every node."""


def elsewhere(avoid: Sequence[str]) -> dict[str, str]:
    """Label selector for every node but some; none where no other node is left."""
    alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
    out = sorted(alive.intersection(avoid))
    return {NODE_ID: f"!in({','.join(out)})"} if out and alive.difference(out) else {}
