"""What chaos does for its own cluster; without Ray."""

from types import SimpleNamespace

import pytest

from rml_platform.chaos.cluster import OwnCluster


@pytest.mark.parametrize(
    ("dead", "is_healed"),
    [([], True), ([True], True), ([True, True], True), ([True, False], False)],
)
def test_a_cluster_without_a_node_gets_one_before_a_launch(
    dead: list[bool], is_healed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = OwnCluster()
    found = [
        SimpleNamespace(node_id=str(number), dead_processes=lambda gone=gone: [1] if gone else [])
        for number, gone in enumerate(dead)
    ]
    cluster._cluster = SimpleNamespace(worker_nodes=set())
    monkeypatch.setattr(OwnCluster, "nodes", found)
    healed: list[bool] = []
    monkeypatch.setattr(cluster, "heal", lambda: healed.append(True))
    cluster.make_room()
    assert bool(healed) is is_healed
