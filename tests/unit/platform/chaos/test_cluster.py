"""What chaos does for its own cluster; without Ray."""

from types import SimpleNamespace

import pytest

from rml_platform.chaos.cluster import OwnCluster

WHOLE = SimpleNamespace(all_processes={"raylet": []}, dead_processes=list)
DEAD = SimpleNamespace(all_processes={"raylet": []}, dead_processes=lambda: [1])
KILLED = SimpleNamespace(all_processes={"log_monitor": []}, dead_processes=list)
"""As `Node.kill_raylet` of Ray leaves it."""


@pytest.fixture
def cluster() -> OwnCluster:
    cluster = OwnCluster()
    cluster._cluster = SimpleNamespace(worker_nodes=set(), head_node=WHOLE)
    return cluster


@pytest.mark.parametrize(
    ("nodes", "is_healed"),
    [([], True), ([DEAD], True), ([DEAD, KILLED], True), ([DEAD, WHOLE], False)],
)
def test_a_cluster_without_a_node_gets_one_before_a_launch(
    nodes: list[SimpleNamespace],
    is_healed: bool,
    cluster: OwnCluster,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(OwnCluster, "nodes", nodes)
    healed: list[bool] = []
    monkeypatch.setattr(cluster, "heal", lambda: healed.append(True))
    cluster.make_room()
    assert bool(healed) is is_healed


def test_a_node_whose_own_process_was_killed_is_replaced(
    cluster: OwnCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = [WHOLE, KILLED]
    monkeypatch.setattr(OwnCluster, "nodes", nodes)
    monkeypatch.setattr(cluster, "kill", nodes.remove)
    monkeypatch.setattr(cluster, "add", lambda: nodes.append(WHOLE))
    cluster.heal()
    assert nodes == [WHOLE, WHOLE]
