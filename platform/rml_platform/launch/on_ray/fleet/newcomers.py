"""Nodes that join a cluster during a launch: asked as all were before it, and kept out until they
have answered."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rml_platform.launch.on_ray.fleet.room import Node, nodes_now
from rml_platform.run.faults.repeated import check_needed

LOOK_EVERY_S = 3.0
AGAIN_AFTER_S = 60.0
"""Pause before a node that may yet be fit is asked once more: while one is asked that says nothing,
others that join wait for their own turn."""


@dataclass(frozen=True)
class Unfit:
    """Why a node cannot be used."""

    reason: str
    may_pass: bool = False
    """It said nothing, or its storage was away, or its disk full: it may be fit when it is asked
    again."""


Judge = Callable[[Sequence[Node]], Mapping[str, Unfit]]
"""The nodes that cannot be used, by id."""


class Newcomers:
    """Which nodes no run may be on: those that cannot do it, and those that are still asked."""

    def __init__(
        self,
        judge: Judge | None,
        on_note: Callable[[str], None],
        look: Callable[[], list[Node]] = nodes_now,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`judge`: None where every node is this machine."""
        self._judge = judge
        self._on_note = on_note
        self._look = look
        self._clock = clock
        self._fit = {node.id for node in look()}
        self._unfit = set[str]()
        self._again_at = dict[str, float]()
        """Nodes that may yet be fit, and when each is asked once more."""

    def look(self) -> None:
        """Ask the nodes that have joined; takes the seconds that they take to answer."""
        if self._judge is None:
            return
        now = self._clock()
        new = [
            node
            for node in self._look()
            if node.id not in self._fit | self._unfit and self._again_at.get(node.id, now) <= now
        ]
        if not new:
            return
        faults = self._judge(new)
        check_needed()  # it may have stored a data set meanwhile, and there is no Ray any more
        alive = {node.id for node in self._look()}
        for node in new:
            if node.id in alive:  # otherwise there is nothing to be said of it any more
                self._settle(node, faults.get(node.id))

    def _settle(self, node: Node, fault: Unfit | None) -> None:
        was_asked = node.id in self._again_at
        self._again_at.pop(node.id, None)
        name = node.host or node.id[:8]
        if fault is None:
            self._fit.add(node.id)
            if was_asked:
                self._on_note(f"node {name} is used from here on")
        elif fault.may_pass:
            self._again_at[node.id] = self._clock() + AGAIN_AFTER_S
            if not was_asked:
                self._on_note(
                    f"node {name} joined and is not used yet: it {fault.reason}; it is asked again"
                )
        else:
            self._unfit.add(node.id)
            self._on_note(f"node {name} joined and is not used: it {fault.reason}")

    def unusable(self) -> set[str]:
        """Ids of the nodes of now that no run may be on."""
        if self._judge is None:
            return set()
        return {node.id for node in self._look()} - self._fit
