"""Looks after the runs of a sweep while they are under way: one that hangs is killed, one that
waits for room says so."""

import contextlib
import signal
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import ray

from rml_platform.launch.on_ray.nodes import Places, call_on, free_by_node, places
from rml_platform.launch.on_ray.placement_groups import is_any_waiting
from rml_platform.launch.run_queue import RunQueue, why_kept_out
from rml_platform.run.codec import DamagedFileError
from rml_platform.run.run_folder import Heartbeat, RunFolder
from rml_platform.run.task import Process, RunTask
from rml_platform.study.retry_config import RetryConfig

KILL_WITHIN_S = 30.0
BEGINS_WITHIN_S = 1800.0
"""How long a run that an actor has may take to its first report, at least: a process that loads
its libraries over a slow network is not hung, however short the pauses of the study are."""
WAITING_AFTER_S = 20.0
"""A run whose worker has not begun for so long waits for something."""
LONGEST_GAP_S = 60.0
"""Between two looks at most so much counts as a run's silence. While the machine stood still, or
its storage was away, no run could report and nobody could look."""


@dataclass
class Pace:
    """How one attempt gets on, by this process's own clock."""

    attempt: int
    place: Hashable
    """Changes with every report of the run."""
    looked_s: float
    """When it was looked at last."""
    still_s: float = 0.0
    """For how long no report has been seen to come."""
    longest_s: float = 0.0
    """Longest pause between two reports so far."""
    is_killed: bool = False
    """Its process was killed, and nobody has noticed so far."""

    def move(self, place: Hashable, now_s: float, rules: RetryConfig) -> None:
        """A report has come, or nothing has changed. One gap alone, in which nobody looked, uses up
        the patience of no study, however little it has."""
        self.still_s += min(now_s - self.looked_s, LONGEST_GAP_S, rules.hang_at_least_s / 4)
        self.looked_s = now_s
        if place != self.place:
            self.longest_s = max(self.longest_s, self.still_s)
            self.place = place
            self.still_s = 0.0

    def is_hung(self, rules: RetryConfig) -> bool:
        return self.still_s > max(rules.hang_at_least_s, rules.hang_factor * self.longest_s)


class Watch:
    """Watches the runs of a queue."""

    def __init__(
        self,
        queue: RunQueue,
        on_note: Callable[[str], None],
        end_attempt: Callable[[str], None] = lambda run_id: None,
        has_actor: Callable[[str], bool] = lambda run_id: False,
    ) -> None:
        """
        Args:
            end_attempt: kill the actor that has a run, given its id.
            has_actor: whether a run has got one.
        """
        self._queue = queue
        self._on_note = on_note
        self._end_attempt = end_attempt
        self._has_actor = has_actor
        self._starts = dict[str, Pace]()
        self._paces = dict[str, Pace]()
        self._waiting = Waiting(on_note, queue.excluded)
        self._unseen = list[OSError]()
        """Why runs could not be seen in the look that is under way."""

    def look(self) -> None:
        """Once around the runs that are under way; to be called again and again.

        Raises OSError in the end where the storage did not let a run be seen, which was no look at
        it: the first such error."""
        tasks = self._queue.under_way()
        beats = dict[str, Heartbeat | None]()
        self._unseen.clear()
        for task in tasks:
            try:
                beats[task.run_id] = _beat_of(task)
            except OSError as error:
                self._unseen.append(error)
        self.judge([task for task in tasks if task.run_id in beats], beats, time.monotonic())
        if self._unseen:
            raise self._unseen[0]

    def judge(self, tasks: list[RunTask], beats: dict[str, Heartbeat | None], now_s: float) -> None:
        """What follows from the last words of the runs that are under way, at a time."""
        not_begun = list[RunTask]()
        for task in tasks:
            beat = beats[task.run_id]
            if beat is None or self._queue.has_ended(task.run_id, beat):
                not_begun.append(task)
                self._follow_start(task, now_s)
            else:
                self._starts.pop(task.run_id, None)
                self._follow(task, beat, now_s)
        self._waiting.look(not_begun, now_s)

    def _follow_start(self, task: RunTask, now_s: float) -> None:
        """A run that an actor has, and that has not reported yet: what it brings to its node first
        stands in its log, which grows and is looked at again and again: not its content."""
        run_id = task.run_id
        if not self._has_actor(run_id):
            self._starts.pop(run_id, None)
            return
        try:
            place = RunFolder.of(task.storage, run_id).folder.state_of("log.txt")
        except OSError as error:
            self._unseen.append(error)
            return
        rules = self._queue.rules_of(task)
        pace = self._starts.setdefault(run_id, Pace(0, place, now_s))
        pace.move(place, now_s, rules)
        waited_s = pace.still_s
        if waited_s > BEGINS_WITHIN_S and pace.is_hung(rules):
            self._on_note(f"{run_id} has not begun within {waited_s:.0f} s: its process is killed")
            self._queue.note_hang(run_id)
            pace.still_s = 0.0
            self._end_attempt(run_id)

    def _follow(self, task: RunTask, beat: Heartbeat, now_s: float) -> None:
        run_id = task.run_id
        pace = self._paces.get(run_id)
        place = (beat.stage, beat.step, beat.checkpoint_step, beat.miou)
        if pace is None or pace.attempt != beat.attempt:
            self._paces[run_id] = Pace(beat.attempt, place, now_s)
            return
        rules = self._queue.rules_of(task)
        pace.move(place, now_s, rules)
        if pace.is_hung(rules):
            self._on_note(
                f"{run_id} has reported nothing since step {beat.step} for "
                f"{pace.still_s:.0f} s (longest pause before: {pace.longest_s:.0f} s): "
                f"process {beat.worker.pid} on {beat.worker.host} is killed"
            )
            self._queue.note_hang(run_id)
            pace.still_s = 0.0
            kill(beat.worker, beat.node)
            if pace.is_killed:
                self._on_note(f"{run_id} does not come back from that: who waits for it is killed")
                self._end_attempt(run_id)
            pace.is_killed = True


@dataclass
class Waiting:
    """Says which runs wait for room on the cluster, each time that this changes."""

    on_note: Callable[[str], None]
    excluded: Callable[[], Mapping[str, int]] = dict
    """Nodes that the launch keeps off, with the number of faults on each."""
    _since_s: float | None = None
    _told: str = ""
    _free: Callable[[], Mapping[str, Mapping[str, float]]] = free_by_node
    _places: Callable[[RunTask], Places] = places
    _is_any_waiting: Callable[[], bool] = is_any_waiting

    def look(self, tasks: list[RunTask], now_s: float) -> None:
        """`tasks`: those that were handed out and whose worker has not begun."""
        if not tasks:
            self._since_s = None
            self._told = ""
            return
        self._since_s = now_s if self._since_s is None else self._since_s
        if now_s - self._since_s < WAITING_AFTER_S:
            return
        # A run that has its room and is starting up takes that room from what is free, too.
        text = self._what_lacks(tasks) if self._is_any_waiting() else ""
        if text and text != self._told:
            self.on_note(text)
        self._told = text

    def _what_lacks(self, tasks: Sequence[RunTask]) -> str:
        here = self._places(tasks[0])
        free = [there for node, there in self._free().items() if node in here.open]
        text = what_lacks(tasks[0], free, len(tasks))
        faults = {node: n for node, n in self.excluded().items() if node in here.kept_out}
        return "; ".join((text, *why_kept_out(faults))) if text else ""


def what_lacks(task: RunTask, free: Sequence[Mapping[str, float]], num_runs: int) -> str:
    """What a run waits for; empty where there is room for it in all.

    Args:
        free: of each node that it may be on, by resource.
    """
    is_packed = task.placement == "one_node"
    for name, amount in (("GPU", task.gpus_per_worker), ("CPU", task.cpus_per_worker)):
        there = [node.get(name, 0.0) for node in free]
        if is_packed:
            there = [max(there, default=0.0)]
        if amount > 0 and sum(int(left / amount + 1e-6) for left in there) < task.num_workers:
            need = f"{task.num_workers} × {amount:g} {name}"
            place = " on one node" if is_packed and task.num_workers > 1 else ""
            left = f"{sum(there):g} free"
            return f"waiting for {need}{place}, {left} ({num_runs} runs not begun)"
    return ""


def kill(worker: Process, node: str) -> None:
    """End a process at once, on whichever node of the cluster it is."""
    if worker.is_gone() is None:
        # A node that is gone has taken the process with it.
        with contextlib.suppress(ray.exceptions.RayError):
            call_on(node, Process.send, worker, signal.SIGKILL, within_s=KILL_WITHIN_S)
    else:
        worker.send(signal.SIGKILL)


def _beat_of(task: RunTask) -> Heartbeat | None:
    """Last word of the attempt that is under way; None before it began. Raises OSError."""
    with contextlib.suppress(DamagedFileError):
        beat = RunFolder.of(task.storage, task.run_id).heartbeat()
        if beat is not None and beat.launch_id == task.launch_id and beat.state == "running":
            return beat
    return None
