"""How many runs the nodes of the connected Ray hold: as they are now, not as they were at the
start."""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray

from rml_platform.launch.on_ray.fleet import autoscaler
from rml_platform.run.task import RunTask, Size

AHEAD = 4
"""Runs that wait for room where an autoscaler does not tell how far it goes."""
LOOK_EVERY_S = 2.0
ACCELERATOR = "accelerator_type:"
"""Prefix of the resource that Ray gives a node for the kind of its GPUs."""
OF_A_KIND = 0.001
"""How much of that resource a worker asks for: a node has 1 of it, whatever it holds."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """One node as Ray lists it."""

    id: str
    host: str
    resources: Mapping[str, float]
    """In all, whoever uses them."""
    labels: Mapping[str, str]


def nodes_now() -> list[Node]:
    """The nodes that are alive and are not being drained."""
    leaving = _draining()
    return [
        Node(
            id=node["NodeID"],
            host=str(node.get("NodeManagerHostname", "")),
            resources=node.get("Resources", {}),
            labels=node.get("Labels", {}),
        )
        for node in ray.nodes()
        if node["Alive"] and node["NodeID"] not in leaving
    ]


def need_of_worker(task: RunTask) -> dict[str, float]:
    """What Ray is asked for, for each worker of a run."""
    need = {"CPU": task.cpus_per_worker}
    if task.gpus_per_worker > 0:
        need["GPU"] = task.gpus_per_worker
    if task.accelerator is not None:
        need[f"{ACCELERATOR}{task.accelerator}"] = OF_A_KIND
    return need


def workers_on(node: Node, task: RunTask) -> int:
    """How many workers of such a run a node holds when it is empty."""
    if not all(matches(node.labels.get(key), wanted) for key, wanted in task.labels):
        return 0
    return _times(node.resources, need_of_worker(task))


def runs_on(nodes: Iterable[Node], task: RunTask) -> int:
    """How many such runs nodes hold at once."""
    held = [workers_on(node, task) for node in nodes]
    if task.placement == "one_node":
        return sum(workers // task.num_workers for workers in held)
    return sum(held) // task.num_workers


def open_to(task: RunTask, nodes: Sequence[Node], avoid: Collection[str]) -> list[Node]:
    """The nodes that a run may be on: without those to avoid where the others hold it, else all,
    because it would wait for ever."""
    others = [node for node in nodes if node.id not in avoid]
    return others if runs_on(others, task) > 0 else list(nodes)


def matches(value: str | None, wanted: str) -> bool:
    """Whether a label of a node is what a selector asks for, in Ray's grammar: `x`, `!x`,
    `in(x,y)`, `!in(x,y)`."""
    is_negated = wanted.startswith("!")
    text = wanted.removeprefix("!")
    is_list = text.startswith("in(") and text.endswith(")")
    values = [one.strip() for one in text[3:-1].split(",")] if is_list else [text]
    return (value in values) != is_negated


def most_by_autoscaler(task: RunTask, nodes: Iterable[Node]) -> int:
    """How many such runs may be handed out on a cluster that something makes grow; 0 where nothing
    does.

    By its resources in all: an autoscaler that launches other kinds of node than a run needs is
    found out by waiting. One that does not tell how far it goes is asked for a few runs more than
    there is room for, and for as many again once they have it.

    Args:
        nodes: those of now that runs may be on.
    """
    most = autoscaler.limits()
    if most:
        countable = {"CPU", "GPU", *most}  # kinds of accelerator need not be declared
        need = {name: n for name, n in need_of_worker(task).items() if name in countable}
        return _times(most, need) // task.num_workers
    return runs_on(nodes, task) + AHEAD if autoscaler.is_at_work() else 0


class Room:
    """Whether one more run may be handed out, asked again and again during a sweep."""

    def __init__(
        self,
        tasks: Sequence[RunTask],
        *,
        at_most: int | None,
        on_note: Callable[[str], None],
        unusable: Callable[[], Collection[str]] = frozenset,
        avoid: Callable[[], Collection[str]] = frozenset,
        look: Callable[[], list[Node]] = nodes_now,
        autoscaled: Callable[[RunTask, Iterable[Node]], int] = most_by_autoscaler,
    ) -> None:
        """
        Args:
            tasks: of the sweep, of one size or several.
            at_most: a person's limit.
            unusable: ids of the nodes that no run may be on.
            avoid: ids of the nodes that runs keep off where there are others for them.
        """
        self._sizes = {task.size: task for task in tasks}
        self._at_most = at_most
        self._on_note = on_note
        self._unusable = unusable
        self._avoid = avoid
        self._look = look
        self._autoscaled = autoscaled
        self._held: dict[Size, int] | None = None
        """Runs of each size that the nodes of now hold."""
        self._room: dict[Size, int] = {}
        self._looked_s = float("-inf")

    def has_room(self, under_way: Sequence[RunTask]) -> bool:
        """Whether one more run may be started beside those that are under way.

        One always may, and waits where there is room for none: what waits for room is what an
        autoscaler goes by, so with one as many may wait as it could ever make room for. Where sizes
        differ the smallest counts; a larger one waits for its room.
        """
        if not under_way:
            return True
        if self._at_most is not None and len(under_way) >= self._at_most:
            return False
        self._refresh()
        parts = sum(1 / self._room[task.size] for task in under_way)
        return parts + min(1 / room for room in self._room.values()) <= 1 + 1e-6

    def _refresh(self) -> None:
        now_s = time.monotonic()
        if now_s - self._looked_s < LOOK_EVERY_S:
            return
        self._looked_s = now_s
        unusable = self._unusable()
        nodes = [node for node in self._look() if node.id not in unusable]
        avoid = self._avoid()
        held = {
            size: runs_on(open_to(task, nodes, avoid), task) for size, task in self._sizes.items()
        }
        self._tell(held)
        self._held = held
        self._room = {
            size: max(1, held[size], self._autoscaled(task, nodes))
            for size, task in self._sizes.items()
        }

    def _tell(self, held: Mapping[Size, int]) -> None:
        size = next(iter(held))
        before = self._held
        if before is not None and held[size] != before[size]:
            grown = "grown" if held[size] > before[size] else "shrunk"
            runs = "run" if held[size] == 1 else "runs"
            self._on_note(f"the cluster has {grown}: it holds {held[size]} {runs} at once now")


def _times(there: Mapping[str, float], need: Mapping[str, float]) -> int:
    # A little more than nothing: Ray counts in ten-thousandths, floats do not.
    return min(int(there.get(name, 0.0) / amount + 1e-6) for name, amount in need.items())


def _draining() -> Collection[str]:
    found: dict[str, Any] = ray._private.state.state.get_draining_nodes()
    return found.keys()
