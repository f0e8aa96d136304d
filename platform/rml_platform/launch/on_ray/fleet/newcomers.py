"""Nodes that join a cluster during a launch: asked as all were before it, and kept out until they
have answered."""

from collections.abc import Callable, Mapping, Sequence

from rml_platform.launch.on_ray.fleet.room import Node, nodes_now

LOOK_EVERY_S = 3.0
Judge = Callable[[Sequence[Node]], Mapping[str, str]]
"""Ids of the nodes that cannot be used, with the reason."""


class Newcomers:
    """Which nodes no run may be on: those that cannot do it, and those that are still asked."""

    def __init__(
        self,
        judge: Judge | None,
        on_note: Callable[[str], None],
        look: Callable[[], list[Node]] = nodes_now,
    ) -> None:
        """`judge`: None where every node is this machine."""
        self._judge = judge
        self._on_note = on_note
        self._look = look
        self._fit = {node.id for node in look()}
        self._unfit = set[str]()

    def look(self) -> None:
        """Ask the nodes that have joined; takes the seconds that they take to answer."""
        if self._judge is None:
            return
        new = [node for node in self._look() if node.id not in self._fit | self._unfit]
        if not new:
            return
        faults = self._judge(new)
        for node in new:
            why = faults.get(node.id)
            (self._fit if why is None else self._unfit).add(node.id)
            if why is not None:
                self._on_note(f"node {node.host or node.id[:8]} joined and is not used: it {why}")

    def unusable(self) -> set[str]:
        """Ids of the nodes of now that no run may be on."""
        if self._judge is None:
            return set()
        return {node.id for node in self._look()} - self._fit
