"""How many runs nodes hold: by their resources, labels and kinds of GPU, as they come and go."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rml_platform.launch.on_ray.fleet import room as module
from rml_platform.launch.on_ray.fleet.room import (
    Node,
    Room,
    matches,
    need_of_worker,
    open_to,
    runs_on,
)
from rml_platform.run.task import RunTask
from rml_trainers.data.prepared.cache import PreparedData
from tests.support.platform.fake_trainer import GOOD
from tests.support.platform.tasks import fake_config, task_for


@pytest.fixture
def task(tiny_data: PreparedData) -> RunTask:
    return task_for(fake_config(GOOD), tiny_data, Path("x"), "run", cpus_per_worker=1)


def node(name: str, resources: dict[str, float], **labels: str) -> Node:
    return Node(id=name, host=name, resources=resources, labels=labels)


def changed(task: RunTask, **changes: Any) -> RunTask:
    return replace(task, **changes)


@pytest.mark.parametrize(
    ("workers", "cpus", "gpus", "there", "expected"),
    [
        (1, 1, 0, {"CPU": 2.0}, 2),
        (2, 1, 0, {"CPU": 3.0}, 1),
        (1, 2, 1, {"CPU": 16.0, "GPU": 4.0}, 4),
        (2, 8, 1, {"CPU": 16.0, "GPU": 4.0}, 1),
        (1, 1, 0.5, {"CPU": 16.0, "GPU": 1.0}, 2),
        (1, 1, 0.1, {"CPU": 16.0, "GPU": 1.0}, 10),
        (4, 1, 0, {"CPU": 2.0}, 0),
    ],
)
def test_as_many_runs_as_the_scarcest_resource_allows(
    task: RunTask,
    workers: int,
    cpus: float,
    gpus: float,
    there: dict[str, float],
    expected: int,
) -> None:
    task = changed(task, num_workers=workers, cpus_per_worker=cpus, gpus_per_worker=gpus)
    assert runs_on([node("a", there)], task) == expected


def test_a_worker_is_not_cut_in_two_between_nodes(task: RunTask) -> None:
    nodes = [node("a", {"CPU": 3}), node("b", {"CPU": 3})]
    assert runs_on(nodes, changed(task, cpus_per_worker=2)) == 2  # not 6 // 2
    assert runs_on(nodes, changed(task, num_workers=2)) == 3
    assert runs_on(nodes, changed(task, num_workers=2, placement="one_node")) == 2
    assert runs_on(nodes, changed(task, num_workers=4)) == 1
    assert runs_on(nodes, changed(task, num_workers=4, placement="one_node")) == 0


def test_only_nodes_with_the_kind_of_gpu_and_the_labels_count(task: RunTask) -> None:
    resources = {"CPU": 8.0, "GPU": 2.0}
    fast = {**resources, "accelerator_type:A100": 1.0}
    nodes = [
        node("a", fast, market="spot"),
        node("b", fast, market="fixed"),
        node("c", resources),
    ]
    asked = changed(task, gpus_per_worker=1, accelerator="A100")
    assert need_of_worker(asked) == {"CPU": 1, "GPU": 1, "accelerator_type:A100": 0.001}
    assert runs_on(nodes, asked) == 4
    assert runs_on(nodes, changed(asked, labels=(("market", "spot"),))) == 2
    assert runs_on(nodes, changed(asked, accelerator=None, labels=(("market", "!spot"),))) == 4
    assert runs_on(nodes, changed(asked, accelerator="H100")) == 0


@pytest.mark.parametrize(
    ("value", "wanted", "is_match"),
    [
        ("a", "a", True),
        ("b", "a", False),
        (None, "a", False),
        ("b", "!a", True),
        (None, "!a", True),
        ("a", "in(a, b)", True),
        ("c", "in(a,b)", False),
        ("c", "!in(a,b)", True),
        ("a", "!in(a,b)", False),
    ],
)
def test_labels_are_matched_as_ray_matches_them(
    value: str | None, wanted: str, is_match: bool
) -> None:
    assert matches(value, wanted) is is_match


def test_nodes_to_avoid_are_left_out_only_where_the_others_hold_the_run(task: RunTask) -> None:
    small = node("small", {"CPU": 1})
    large = node("large", {"CPU": 4})
    fast = node("fast", {"CPU": 4, "GPU": 1, "accelerator_type:A100": 1})
    spot = node("spot", {"CPU": 4}, market="spot")
    wide = changed(task, cpus_per_worker=2)
    on_gpu = changed(task, gpus_per_worker=1, accelerator="A100")
    on_spot = changed(task, labels=(("market", "spot"),))
    two = changed(task, num_workers=2, placement="one_node")
    nodes = [small, large, fast, spot]

    def names(run: RunTask, avoid: set[str], there: list[Node] = nodes) -> list[str]:
        return [one.id for one in open_to(run, there, avoid)]

    assert names(task, {"large"}) == ["small", "fast", "spot"]
    assert names(wide, {"large"}, [small, large]) == ["small", "large"], "too few resources"
    assert names(two, {"large"}, [small, large]) == ["small", "large"], "not together on one"
    assert names(on_gpu, {"fast"}) == [one.id for one in nodes], "the only one of its kind"
    assert names(on_spot, {"spot", "large"}) == [one.id for one in nodes], "the only label"
    assert names(task, {"large", "gone"}, [large]) == ["large"]


class Cluster:
    """Nodes that come and go, seen each time that the room looks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.nodes = [node("a", {"CPU": 2})]
        self.autoscaled = 0
        self.unusable = set[str]()
        self.avoid = set[str]()
        self.said: list[str] = []
        monkeypatch.setattr(module, "LOOK_EVERY_S", 0.0)

    def room(self, *tasks: RunTask, at_most: int | None = None) -> Room:
        return Room(
            tasks,
            at_most=at_most,
            on_note=self.said.append,
            unusable=lambda: self.unusable,
            avoid=lambda: self.avoid,
            look=lambda: self.nodes,
            autoscaled=lambda task, nodes: self.autoscaled,
        )


def most(room: Room, task: RunTask) -> int:
    """How many runs are handed out one after the other until the room says no."""
    under_way: list[RunTask] = []
    while room.has_room(under_way):
        under_way.append(task)
    return len(under_way)


def test_what_comes_and_goes_counts_at_once(task: RunTask, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch)
    room = cluster.room(task)
    assert most(room, task) == 2
    assert not cluster.said
    cluster.nodes.append(node("b", {"CPU": 3}))
    assert [most(room, task), most(room, task)] == [5, 5]
    cluster.unusable.add("b")
    assert most(room, task) == 2
    cluster.unusable.clear()
    cluster.avoid.add("b")
    assert most(room, task) == 2
    del cluster.nodes[0]
    assert most(room, task) == 3, "no other node is left"
    cluster.nodes.clear()
    assert most(room, task) == 1  # one waits, and says so
    assert cluster.said == [
        "the cluster has grown: it holds 5 runs at once now",
        "the cluster has shrunk: it holds 2 runs at once now",
        "the cluster has grown: it holds 3 runs at once now",
        "the cluster has shrunk: it holds 0 runs at once now",
    ]


def test_with_an_autoscaler_as_many_wait_as_it_may_make_room_for(
    task: RunTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(monkeypatch)
    cluster.autoscaled = 40
    assert most(cluster.room(task), task) == 40
    assert most(cluster.room(task, at_most=8), task) == 8


def test_runs_of_several_sizes_share_the_room(
    task: RunTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(monkeypatch)
    cluster.nodes = [node("a", {"CPU": 8})]
    large = changed(task, cpus_per_worker=4)
    room = cluster.room(task, large)
    assert room.has_room([large])
    assert room.has_room([large, task, task, task])
    assert not room.has_room([large, task, task, task, task])
    assert not room.has_room([large, large])
