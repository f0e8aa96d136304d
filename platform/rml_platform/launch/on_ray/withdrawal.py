"""Takes runs back that wait on the cluster for what will not come, or that nobody wants by now."""

import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler

from rml_platform.launch.on_ray.fleet.room import Node, matches, nodes_now
from rml_platform.launch.on_ray.nodes import NODE_ID
from rml_platform.run.faults.outages import is_outage

LOOK_EVERY_S = 5.0
ROOM_WITHIN_S = 60.0
"""How long a request for room counts once, as with Ray Train, which gives it up by itself."""


@dataclass(frozen=True)
class Bundle:
    """What one part of a placement group asks for."""

    need: Mapping[str, float]
    """By resource."""
    labels: Mapping[str, str]
    """Label selector of its node."""

    def is_stuck(self, nodes: Sequence[Node]) -> bool:
        """Whether no node may take it, and one could if it did not have to keep off nodes."""
        fitting = [node for node in nodes if _holds(node.resources, self.need)]
        anywhere = {name: wanted for name, wanted in self.labels.items() if name != NODE_ID}
        may_be_taken = any(_has_labels(node, self.labels) for node in fitting)
        return not may_be_taken and any(_has_labels(node, anywhere) for node in fitting)


def _holds(there: Mapping[str, float], need: Mapping[str, float]) -> bool:
    return all(there.get(name, 0.0) + 1e-6 >= amount for name, amount in need.items())


def _has_labels(node: Node, wanted: Mapping[str, str]) -> bool:
    return all(matches(node.labels.get(name), value) for name, value in wanted.items())


def bundles_of(request: tune.PlacementGroupFactory) -> list[Bundle]:
    """What a trial asks for, part by part."""
    needs = request.bundles
    labels = request._kwargs.get("bundle_label_selector") or [{}] * len(needs)
    return [Bundle(need, wanted) for need, wanted in zip(needs, labels, strict=True)]


class InOrder(FIFOScheduler):  # type: ignore[misc]
    """Tune's own order, found without going through all trials that have ended, which may be
    thousands; knows who can take a trial back."""

    def __init__(self) -> None:
        super().__init__()
        self.controller: Any = None
        self._waiting = deque[Trial]()

    def has_room(self, trial: Trial) -> bool:
        """Whether the process of a trial has got its room, and is starting up."""
        actor = self.controller._trial_to_actor.get(trial)
        return actor is not None and actor in self.controller._actor_manager.live_actors

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        self.controller = tune_controller
        self._waiting.append(trial)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """The trial that waits longest; None where none does. None of ours is ever paused."""
        while self._waiting and self._waiting[0].status != Trial.PENDING:
            self._waiting.popleft()
        return self._waiting[0] if self._waiting else None

    # Tune writes its parts down, to be restored from; nothing of ours is.
    def __getstate__(self) -> dict[str, Any]:
        return {}


class Withdrawal(tune.Callback):  # type: ignore[misc]
    """Takes back runs that still keep off nodes although the others are gone: Ray never looks at a
    request for room again, and they would wait for ever. The queue hands them out afresh. Those
    that were cancelled meanwhile, or come too late for a deadline or budget, give up their request,
    for which an autoscaler would bring nodes. So do those whose study bounds how long they wait,
    after each minute: the queue counts it, as it does those of Ray Train's groups.

    Works between two steps of Tune, so that no run begins while it is taken back.
    """

    def __init__(
        self,
        scheduler: InOrder,
        unusable: Callable[[], Collection[str]],
        on_withdrawn: Callable[[str], None],
        on_note: Callable[[str], None],
        why_unwanted: Callable[[Collection[str]], Mapping[str, str]] = lambda waiting: {},
        look: Callable[[], list[Node]] = nodes_now,
        *,
        is_bounded: Callable[[str], bool] = lambda run_id: False,
    ) -> None:
        """
        Args:
            unusable: ids of the nodes that no run may be on.
            on_withdrawn: is told the id of a run before it is taken back for want of nodes.
            why_unwanted: given the ids of the runs that wait, tells which of them are to be taken
                back, and why.
            is_bounded: whether a run, given its id, waits for room for so many minutes only.
        """
        self._scheduler = scheduler
        self._unusable = unusable
        self._on_withdrawn = on_withdrawn
        self._on_note = on_note
        self._why_unwanted = why_unwanted
        self._look = look
        self._is_bounded = is_bounded
        self._since_s = dict[str, float]()
        """Since when the runs wait that have no room so far."""
        self._looked_s = float("-inf")
        self._is_outage_told = False

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        now_s = time.monotonic()
        if now_s - self._looked_s < LOOK_EVERY_S:
            return
        self._looked_s = now_s
        waiting = [trial for trial in trials if trial.status == Trial.PENDING]
        self._follow(waiting, now_s)
        if not waiting:
            return
        unwanted = self._unwanted({_run_id_of(trial) for trial in waiting})
        unusable = self._unusable()
        nodes = [node for node in self._look() if node.id not in unusable]
        for trial in waiting:
            run_id = _run_id_of(trial)
            if run_id in unwanted:
                self._on_note(f"{run_id} waits for room no longer: {unwanted[run_id]}")
                self._scheduler.controller.stop_trial(trial)
            elif any(part.is_stuck(nodes) for part in bundles_of(trial.placement_group_factory)):
                self._on_note(
                    f"{run_id} has waited for nodes that are gone: it may now be on one that was "
                    "kept out"
                )
                self._on_withdrawn(run_id)
                self._scheduler.controller.stop_trial(trial)
            elif now_s - self._since_s.get(run_id, now_s) >= ROOM_WITHIN_S:
                del self._since_s[run_id]
                self._on_withdrawn(run_id)
                self._scheduler.controller.stop_trial(trial)

    def _follow(self, waiting: Sequence[Trial], now_s: float) -> None:
        """Keep in mind since when runs wait whose minutes count."""
        counted = [_run_id_of(trial) for trial in waiting if self._is_counted(trial)]
        self._since_s = {run_id: self._since_s.get(run_id, now_s) for run_id in counted}

    def _is_counted(self, trial: Trial) -> bool:
        return self._is_bounded(_run_id_of(trial)) and not self._scheduler.has_room(trial)

    def _unwanted(self, waiting: Collection[str]) -> Mapping[str, str]:
        """Which of the runs that wait are wanted no longer, and why; none of them where the storage
        does not tell: an error here would end the launch."""
        try:
            found = self._why_unwanted(waiting)
        except OSError as error:
            if not is_outage(str(error)):
                raise
            if not self._is_outage_told:
                self._on_note(f"the storage is away, runs go on waiting for room: {error}")
            self._is_outage_told = True
            return {}
        self._is_outage_told = False
        return found


def _run_id_of(trial: Trial) -> str:
    return str(trial.config["run_id"])
