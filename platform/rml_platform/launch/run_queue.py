"""The runs of one sweep: which is next, and what becomes of one whose attempt ended. Knows no Ray.

Nobody else tries anything again: Tune and Ray Train are told to give up at the first failure, so
that no retry of theirs multiplies ours.
"""

import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from rml_platform.launch.scheduling.turns import Turns
from rml_platform.run.faults.claims import ClaimBoard
from rml_platform.run.faults.retry_policy import (
    NOT_OVER_THE_RUN,
    Decision,
    FailureClass,
    Trouble,
    classify,
    decide,
    faults_on,
    node_to_exclude,
)
from rml_platform.run.run_folder import Failure, Heartbeat, RunFolder, RunRecord
from rml_platform.run.task import Process, RunTask
from rml_platform.study.retry_config import RetryConfig
from rml_trainers.data.loading.batch_recipe import check_workers
from rml_trainers.errors import ConfigError
from rml_trainers.training.assembly import batch_recipe, with_micro_batches

FEWEST_IMAGES = 2
"""Of one kind in a micro-batch: BatchNorm behind a global mean has no variance from one image."""
_HAND_OUTS = itertools.count(1)
"""Over all queues of this process: a run that another launch had in between is handed out by
another queue, and its number has to be higher all the same."""


class RunQueue:
    """Hands runs out, and puts those back that are worth another try."""

    def __init__(
        self,
        tasks: Sequence[RunTask],
        rules: RetryConfig | Mapping[str, RetryConfig],
        on_note: Callable[[str], None],
        turns: Turns | None = None,
    ) -> None:
        """
        Args:
            rules: for all runs, or by the name of their study.
            on_note: is told of every further try, and why.
            turns: decides which waiting run is next; default: the order of the tasks.
        """
        self.lost = dict[str, str]()
        """Runs that ended without writing down why, with what is known of it."""
        self._turns = Turns() if turns is None else turns
        for task in tasks:
            self._turns.add(task)
        self._under_way = dict[str, RunTask]()
        self._history = dict[str, list[Trouble]]()
        self._known_ends = dict[str, FailureClass]()
        """What the attempts that are about to end are going to end of."""
        self._taken_back = set[str]()
        """Runs whose attempts are about to end before they begin, because nobody wants them now."""
        self._ended_attempts = dict[str, tuple[int, Process]]()
        self._excluded = dict[str, int]()
        """Nodes that the whole launch keeps off where there are others, and how many faults speak
        against each."""
        self._rules = rules
        self._on_note = on_note
        self._is_stuck = False

    def next(self) -> RunTask | None:
        """The run to start now, None where there is none to start at the moment."""
        task = self._turns.next(self.under_way())
        self._is_stuck = task is None
        if task is None:
            return None
        avoid = tuple(sorted({*task.avoid, *self._excluded}))
        task = replace(task, avoid=avoid, hand_out=next(_HAND_OUTS))
        self._under_way[task.run_id] = task
        return task

    def excluded(self) -> dict[str, int]:
        """The nodes that the whole launch keeps off where there are others for a run, with the
        number of faults for which it does. May be asked by any thread."""
        return self._excluded.copy()

    @property
    def is_over(self) -> bool:
        """Whether every run has come to an end, or none of the others may be started."""
        return not self._under_way and (self._is_stuck or not len(self._turns))

    def rules_of(self, task: RunTask) -> RetryConfig:
        """What is tried again, and when the run counts as hung: as its study says."""
        return self._rules if isinstance(self._rules, RetryConfig) else self._rules[task.study]

    def under_way(self) -> list[RunTask]:
        """The runs that were handed out and have not come back. May be asked by any thread."""
        return list(self._under_way.copy().values())

    def note_hang(self, run_id: str) -> None:
        """The attempt that is about to end was killed because it hung."""
        self._known_ends[run_id] = FailureClass.HANG

    def note_no_room(self, run_id: str) -> None:
        """The attempt that is about to end is taken back before it began: what it waits for will
        not come."""
        self._known_ends[run_id] = FailureClass.NO_ROOM

    def has_bounded_wait(self, run_id: str) -> bool:
        """Whether the study of a run that is under way bounds how long it waits for room."""
        return self.rules_of(self._under_way[run_id]).no_room != "unlimited"

    def take_back_unwanted(self, waiting: Collection[str]) -> dict[str, str]:
        """Why runs that were handed out and wait for room may no longer be started, by id. Their
        attempts are about to be ended and are none: the runs wait for their turn, as before.

        Args:
            waiting: ids of the runs that wait for room.
        Raises:
            OSError: the storage does not answer; nothing was taken back.
        """
        left = [task for task in self.under_way() if task.run_id not in self._taken_back]
        still = {task.run_id for task in left}.intersection(waiting)
        reasons = self._turns.unwanted(still, left)
        self._taken_back.update(reasons)
        return reasons

    def has_ended(self, run_id: str, beat: Heartbeat) -> bool:
        """Whether a word is the last of an attempt that has come back: it is still there until the
        next one begins."""
        return self._ended_attempts.get(run_id) == (beat.attempt, beat.worker)

    def ended(self, run_id: str, error: str) -> None:
        """An attempt came to its end, or could not begin: find out which, and decide.

        Args:
            error: what Ray says of it; empty where the attempt returned by itself.
        Raises:
            OSError: the storage does not answer; nothing was decided, and this may be asked again.
        """
        task = self._under_way[run_id]
        if run_id in self._taken_back:
            self._taken_back.remove(run_id)
            self._put_back(task, None)
            self._turns.add(task, tries=self._tries_of(run_id))
            return
        folder = RunFolder.of(task.storage, run_id)
        record = folder.record()
        if record.result is not None or _belongs_to_another(folder, task):
            self._put_back(task, record.heartbeat)
            if record.result is not None:
                self._turns.on_done(run_id)
            self._turns.note_room(task, is_there=True)
            return
        task = _as_it_was_tried(task, record.heartbeat)
        history = [*self._history.get(run_id, ()), self._trouble(task, record, error)]
        decision = decide(history, self.rules_of(task), can_halve_batch=can_halve_batch(task))
        if decision.is_tried_again:
            folder.forget_failure()
        else:
            self._turns.on_given_up(run_id)
        # From here on nothing asks the storage any more, which may be away half-way.
        self._put_back(task, record.heartbeat)
        self._known_ends.pop(run_id, None)
        self._history[run_id] = history
        self._turns.note_room(task, is_there=history[-1].kind is not FailureClass.NO_ROOM)
        self._judge_node(history[-1].node, task)
        if decision.is_tried_again:
            history[-1] = replace(history[-1], led_to_halving=decision.halve_batch)
            self._try_again(task, decision, record)
        elif record.failure_of(task.launch_id) is None:
            self.lost[run_id] = _account(error, history)

    def _put_back(self, task: RunTask, beat: Heartbeat | None) -> None:
        """The attempt that was under way is no more; `beat` is its last word."""
        del self._under_way[task.run_id]
        self._is_stuck = False  # what waited for this run, or for its share, may go on
        if beat is not None:
            self._ended_attempts[task.run_id] = (beat.attempt, beat.worker)

    def _trouble(self, task: RunTask, record: RunRecord, error: str) -> Trouble:
        own = record.failure_of(task.launch_id)
        node = own.node if own is not None and own.node else _node(record.heartbeat, task)
        return Trouble(self._kind(task.run_id, own, error), node)

    def _tries_of(self, run_id: str) -> int:
        """How often a run has failed in this launch for reasons that may be its own."""
        history = self._history.get(run_id, ())
        return sum(trouble.kind not in NOT_OVER_THE_RUN for trouble in history)

    def _judge_node(self, node: str, task: RunTask) -> None:
        if node in self._excluded:
            return
        histories = self._history.values()
        if node_to_exclude(histories, node, self.rules_of(task)):
            self._excluded[node] = sum(faults_on(histories, node))
            self._turns.about_room = "; ".join(why_kept_out(self._excluded))
            self._on_note(
                f"node {node[:12]} is kept out from here on, except for runs that no other node "
                f"can take: runs have died, hung, or lost their GPU or disk on it "
                f"{self._excluded[node]} times"
            )

    def _kind(self, run_id: str, failure: Failure | None, error: str) -> FailureClass:
        if run_id in self._known_ends:
            return self._known_ends[run_id]
        if failure is not None:
            return classify((failure.kind,), failure.message)
        kind = classify((), error)
        # It wrote nothing down, so it did not fail by itself.
        return FailureClass.LOST if kind is FailureClass.CODE else kind

    def _try_again(self, task: RunTask, decision: Decision, record: RunRecord) -> None:
        trouble = self._history[task.run_id][-1]
        cuts = 2 if decision.halve_batch else 1
        again = replace(task, avoid=decision.avoid, micro_batches=cuts * task.micro_batches)
        self._turns.add(again, tries=self._tries_of(task.run_id))
        how = f", in {again.micro_batches} times as many micro-batches" if cuts > 1 else ""
        why = trouble.kind.value.replace("_", " ")
        step = record.heartbeat.step if record.heartbeat else 0
        before = self._history[task.run_id][:-1]
        is_news = trouble.kind is not FailureClass.NO_ROOM or not before or before[-1] != trouble
        if not is_news:  # what it waits for is told by who watches
            return
        self._on_note(f"{task.run_id} is tried again after step {step} ({why}){how}")


def why_kept_out(faults: Mapping[str, int]) -> list[str]:
    """What is said of each node that a launch keeps off, given the number of its faults."""
    return [f"node {node[:12]} is kept out after {n} faults" for node, n in faults.items()]


def can_halve_batch(task: RunTask) -> bool:
    """Whether each of a run's micro-batches can be cut into two."""
    config = with_micro_batches(task.config, 2 * task.micro_batches)
    size = config.batch
    sizes = [size.labelled, size.unlabelled] if config.method.uses_unlabelled else [size.labelled]
    try:
        check_workers(batch_recipe(config), task.num_workers)
    except ConfigError:
        return False
    return min(sizes) // (task.num_workers * size.accumulate) >= FEWEST_IMAGES


def _as_it_was_tried(task: RunTask, beat: Heartbeat | None) -> RunTask:
    """The task with the micro-batches of the attempt that ended: an attempt goes on with those that
    an earlier launch came to."""
    tried = beat.micro_batches if beat is not None else 1
    return replace(task, micro_batches=max(task.micro_batches, tried))


def _belongs_to_another(folder: RunFolder, task: RunTask) -> bool:
    held = ClaimBoard(folder.folder).newest()
    claim = held.claim if held else None
    return claim is not None and claim.launch_id != task.launch_id and not claim.is_given_back


def _node(beat: Heartbeat | None, task: RunTask) -> str:
    return beat.node if beat is not None and beat.launch_id == task.launch_id else ""


def _account(error: str, history: Sequence[Trouble]) -> str:
    """What is written down of a run that could not do so itself."""
    kind = history[-1].kind
    unknown = "no room" if kind is FailureClass.NO_ROOM else "no reason given"
    text = error.strip() or unknown
    times = sum(trouble.kind is kind for trouble in history)
    what = {
        FailureClass.LOST: "killed or died",
        FailureClass.HANG: "killed because it hung",
        FailureClass.DEVICE: "failed over its GPU",
        FailureClass.NO_ROOM: "without room for its workers within a minute; free some and launch "
        "again:",
    }.get(kind, kind.value.replace("_", " "))
    return f"{text}\n{what} {times} times in this launch ({text.splitlines()[-1]})"
