"""What makes the connected cluster grow, and how far, as much of it as can be known.

Ray's own autoscalers (`ray up`, KubeRay; versions 1 and 2) do not tell drivers which nodes they may
add; that they are there shows in what they report of their work. Others, such as Anyscale's, also
report the most that the cluster can have.
"""

import json
from typing import Any

import ray

SINGLE = "node_"
"""Version 1 also runs on a cluster that was made by hand, where it adds nothing and calls each node
a type of its own, by this prefix and its id."""


def limits() -> dict[str, float]:
    """The most of each resource that the cluster can have; empty where nothing tells it."""
    return ray._private.state.state.get_max_resources_from_cluster_config() or {}


def is_at_work() -> bool:
    """Whether an autoscaler reports what it is at."""
    return _reports_as_version_2() or _reports_as_version_1()


def _reports_as_version_2() -> bool:
    from ray.core.generated.autoscaler_pb2 import GetClusterStatusReply

    serialized = ray._private.worker.global_worker.gcs_client.get_cluster_status()
    return bool(GetClusterStatusReply.FromString(serialized).HasField("autoscaling_state"))


def _reports_as_version_1() -> bool:
    from ray._private.ray_constants import DEBUG_AUTOSCALING_STATUS
    from ray.experimental.internal_kv import _internal_kv_get

    serialized = _internal_kv_get(DEBUG_AUTOSCALING_STATUS)
    return serialized is not None and adds_nodes(json.loads(serialized))


def adds_nodes(status: dict[str, Any]) -> bool:
    """Whether what version 1 reports is of a cluster that it makes grow."""
    types = ((status.get("autoscaler_report") or {}).get("node_type_mapping") or {}).values()
    return any(not str(name).startswith(SINGLE) for name in types)
