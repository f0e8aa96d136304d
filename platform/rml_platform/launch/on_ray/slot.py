"""A group of Ray Train workers that takes run after run, so that only the first of them waits for a
controller, for processes and for torch to be loaded.

It lives as long as the process that hands it its runs (a Tune actor, which is used again as well),
until no run comes for a while, or until one fails: a process in which something went wrong trains
no other run.
"""

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rml_platform.launch.on_ray.mailbox import Mailbox
from rml_platform.launch.on_ray.nodes import kept_out
from rml_platform.launch.on_ray.worker import train_group
from rml_platform.run.task import RUN_TASK, RunTask

IDLE_S = 10.0
"""Others may need the room; a busy machine takes some seconds from one run to the next."""
LOOK_EVERY_S = 5.0
"""How often who waits for an answer looks whether the group is still there to give one."""


class Slot:
    """One group, for runs of one size."""

    def __init__(self, task: RunTask, trainer_class: Callable[..., Any] | None) -> None:
        self._size = _size(task)
        # Beside this process: no other node takes the group along when it goes.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        actor = ray.remote(num_cpus=0, max_restarts=0, scheduling_strategy=here)(Mailbox)
        self._mailbox = actor.remote(IDLE_S)
        self._said = ""
        self._group = threading.Thread(
            target=self._fit, args=(task, trainer_class), name="ray-train", daemon=True
        )
        self._group.start()

    def serves(self, task: RunTask) -> bool:
        """Whether the group would be made like this for the run, and is where the run may be."""
        if not self._group.is_alive() or _size(task) != self._size:
            return False
        try:
            nodes: set[str] = ray.get(self._mailbox.nodes.remote())
        except ray.exceptions.RayError:
            return False
        return nodes.isdisjoint(kept_out(task).union(task.unusable))

    def run(self, task: RunTask) -> str | None:
        """Train a run; what Ray Train says where its group ended under it, empty where it did not.

        None where the group takes no run any more, and this one was not begun.
        """
        try:
            number = ray.get(self._mailbox.post.remote(RUN_TASK.encode(task).decode()))
            if number is None:
                return None
            return self._answer(number)
        except ray.exceptions.RayError as error:
            # Who is at the run finds that out at its end; until then it is under way.
            self._group.join()
            return self._said or f"{type(error).__name__}: {error}"

    def _answer(self, number: int) -> str:
        """Wait until a run has ended. Should nobody answer although the group has ended (a message
        of Ray's was lost), its own last word is the answer."""
        answer = self._mailbox.answered.remote(number)
        is_over = False
        while not ray.wait([answer], timeout=LOOK_EVERY_S)[0]:
            if is_over:
                return self._said or "the group of workers ended without an answer"
            is_over = not self._group.is_alive()  # then the answer may yet be on its way
        return str(ray.get(answer))

    def end(self) -> str:
        """Let the group go once it has nothing to do, and wait for its room to be free; what Ray
        Train says of its end, empty where nothing is wrong."""
        with contextlib.suppress(ray.exceptions.RayError):  # it is ending
            ray.get(self._mailbox.close.remote(""))
        self._group.join()
        return self._said

    def _fit(self, task: RunTask, trainer_class: Callable[..., Any] | None) -> None:
        try:
            self._said = train_group(task, self._mailbox, trainer_class)
        except Exception as error:
            # Who waits for an answer is told whatever ended the group: an error that ended this
            # thread alone would leave them waiting for ever.
            self._said = f"{type(error).__name__}: {error}"
            raise
        finally:
            self._mailbox.close.remote(self._said)


_slot: Slot | None = None
"""Of this process."""


def run_in_slot(task: RunTask, trainer_class: Callable[..., Any] | None = None) -> str:
    """Train one run with a group of `num_workers` workers, the one before's where it fits; the
    outcome is in the run's folder.

    One attempt: Ray Train retries nothing. Returns what it says where the group failed, was lost or
    could not be started, and nothing else.
    """
    global _slot
    while True:
        if _slot is not None and not _slot.serves(task):
            _slot.end()
            _slot = None
        is_new = _slot is None
        if _slot is None:
            _slot = Slot(task, trainer_class)
        said = _slot.run(task)
        if said is not None:
            return said
        said = _slot.end()
        _slot = None
        # A group of its own that could not even begin would not the next time either: whoever
        # counts the attempts decides.
        if is_new and said:
            return said


def _size(task: RunTask) -> tuple[object, ...]:
    return (*task.size, task.backend)
