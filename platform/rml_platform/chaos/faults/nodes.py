"""Nodes that go, come, and are taken away with notice; a cluster that shrinks and grows."""

import time
from collections.abc import Callable
from random import Random
from typing import Any

from rml_platform.chaos.arena import Arena, MissedError
from rml_platform.chaos.cluster import OwnCluster
from rml_platform.chaos.faults.fault import Strike


def cluster_of(arena: Arena) -> OwnCluster:
    if not isinstance(arena.grounds, OwnCluster):
        raise MissedError("this round has no cluster of its own")
    return arena.grounds


def on_node(strike: Callable[[OwnCluster, Any, Random], str]) -> Strike:
    """Something that happens to one of the nodes, preferably one that trains."""

    def on_one(arena: Arena, rng: Random) -> str:
        cluster = cluster_of(arena)
        if not cluster.nodes:
            raise MissedError("the cluster has no node left")
        trains = {beat.node for beat in arena.workers().values()}
        busy = [node for node in cluster.nodes if str(node.node_id) in trains]
        return strike(cluster, rng.choice(busy or cluster.nodes), rng)

    return on_one


def killed(cluster: OwnCluster, node: Any, rng: Random) -> str:
    return f"node {cluster.kill(node)[:8]} killed"


def killed_and_back(cluster: OwnCluster, node: Any, rng: Random) -> str:
    gone = cluster.kill(node)
    seconds = rng.uniform(1, 8)
    time.sleep(seconds)
    return f"node {gone[:8]} killed; {cluster.add()[:8]} instead of it after {seconds:.1f} s"


def drained(cluster: OwnCluster, node: Any, rng: Random) -> str:
    """With notice; then the node goes, as a spot machine does."""
    seconds = rng.uniform(3, 10)
    name = cluster.drain(node, seconds)
    time.sleep(seconds)
    cluster.kill(node)
    return f"node {name[:8]} drained with {seconds:.1f} s of notice, and gone"


def raylet_killed(cluster: OwnCluster, node: Any, rng: Random) -> str:
    return f"raylet of node {cluster.kill_raylet(node)[:8]} killed"


def shrunk_and_grown(arena: Arena, rng: Random) -> str:
    """No node that a cell fits on is left, for longer than a run waits quietly."""
    cluster = cluster_of(arena)
    for node in list(cluster.nodes):
        cluster.kill(node)
    seconds = rng.uniform(10, 30)
    time.sleep(seconds)
    cluster.heal()
    return f"all nodes gone for {seconds:.1f} s, then {len(cluster.nodes)} new ones"


def grown(arena: Arena, rng: Random) -> str:
    return f"node {cluster_of(arena).add()[:8]} joins"


def head_killed(arena: Arena, rng: Random) -> str:
    """The cluster dies; the launch has to notice, and another one goes on, on a new cluster."""
    cluster = cluster_of(arena)
    launches = arena.living
    cluster.kill_head()
    for launch in launches:
        if not launch.wait(arena.patience_s):
            raise arena.stuck()
    cluster.restart()
    arena.launch()
    codes = ", ".join(str(launch.exit_code) for launch in launches)
    return f"head of the cluster killed, the launch ended with {codes}; a new cluster"
