"""Ray Tune over the runs of a launch. The only place that knows Tune.

Tune schedules and bounds; it keeps no state that we read, and it tries nothing again: what became
of a run is in the run's folder, and `RunQueue` decides what follows from it.
"""

import contextlib
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.execution import class_cache
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.search import Searcher

from rml_platform.launch.direct import run_direct
from rml_platform.launch.live_view import poll_seconds
from rml_platform.launch.on_ray.fleet.newcomers import LOOK_EVERY_S, Newcomers
from rml_platform.launch.on_ray.fleet.room import Room, need_of_worker
from rml_platform.launch.on_ray.nodes import label_selector, off
from rml_platform.launch.on_ray.placement_groups import NamedGroup, remove_orphans
from rml_platform.launch.on_ray.watch import Watch
from rml_platform.launch.on_ray.withdrawal import InOrder, Withdrawal
from rml_platform.launch.run_queue import RunQueue
from rml_platform.launch.scheduling.turns import Turns
from rml_platform.run.attempt import TrainerLike
from rml_platform.run.faults.outages import is_outage
from rml_platform.run.faults.repeated import repeated
from rml_platform.run.files.temporary import temporary_folder
from rml_platform.run.run_folder import RunFolder
from rml_platform.run.task import RUN_TASK, RunTask
from rml_platform.study.retry_config import RetryConfig
from rml_trainers.errors import RmlError

MOST_AT_ONCE = 1000
TASK = "task"
"""The task of a run as JSON, in the configuration of its Tune trial."""
SAID = "said"
"""What Ray Train said of an attempt, in the report of its Tune trial."""


class Silence(TrialProgressCallback):  # type: ignore[misc]
    """Takes the place of the callback that prints a line for every trial, whatever the verbosity;
    keeps what Ray says of trials that died, and knows which actor has which run."""

    def __init__(self) -> None:
        super().__init__()
        self.errors = dict[str, str]()
        self._actors = dict[str, Any]()

    def _print(self, msg: str) -> None: ...

    def on_trial_result(self, *_: Any, **info: Any) -> None: ...

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._actors[_run_id_of(trial)] = trial.temporary_state.ray_actor

    def end_attempt(self, run_id: str) -> None:
        """Kill the actor that has a run, with all that it has started; its trial ends over it."""
        actor = self._actors.pop(run_id, None)
        if actor is not None:
            ray.kill(actor)

    def has_actor(self, run_id: str) -> bool:
        return run_id in self._actors

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._forget(trial)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._forget(trial)
        self.errors[trial.trial_id] = str(trial.get_error() or "no reason given")

    def _forget(self, trial: Any) -> None:
        """Drop what Tune would keep of every trial until the launch ends, thousands of them."""
        run_id = _run_id_of(trial)
        self._actors.pop(run_id, None)
        trial.set_config({"run_id": run_id})
        trial.evaluated_params = {}
        trial.run_metadata.metric_analysis.clear()
        trial.run_metadata.metric_n_steps.clear()


class Handout(Searcher):  # type: ignore[misc]
    """Gives the runs of a queue to Tune one by one, and brings back what became of them."""

    def __init__(
        self,
        queue: RunQueue,
        room: Room,
        unusable: Callable[[], Collection[str]],
        errors: dict[str, str],
        on_note: Callable[[str], None],
    ) -> None:
        """As many at once as there is `room` for, none of them on an `unusable` node."""
        super().__init__()
        self._queue = queue
        self._room = room
        self._unusable = unusable
        self._errors = errors
        self._on_note = on_note
        self._run_of_trial = dict[str, str]()
        self._ended = list[tuple[str, str]]()
        self._may_be_orphans = True
        self._is_outage_told = False

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        task = self._next()
        if task is None:
            return str(Searcher.FINISHED) if self._queue.is_over else None
        if self._may_be_orphans and (orphans := remove_orphans()):
            self._on_note(f"{orphans} placement groups of processes that died are removed")
        self._may_be_orphans = False
        self._run_of_trial[trial_id] = task.run_id
        # As JSON: the configuration of a plug-in's class could not be unpickled before its plug-in
        # is loaded, which the run itself does.
        here = replace(task, unusable=tuple(sorted(self._unusable())))
        return {"run_id": task.run_id, TASK: RUN_TASK.encode(here).decode()}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        # What Ray says of an error comes after this call.
        self._ended.append((trial_id, str((result or {}).get(SAID, ""))))

    def _next(self) -> RunTask | None:
        """The run to start now, None where there is none or the storage does not tell: then Tune
        asks again soon, and what has ended until then is kept."""
        try:
            self._settle()
            task = self._queue.next() if self._room.has_room(self._queue.under_way()) else None
        except OSError as error:
            if not is_outage(str(error)):
                raise
            if not self._is_outage_told:
                self._on_note(f"the storage is away, no run is started until it answers: {error}")
            self._is_outage_told = True
            return None
        self._is_outage_told = False
        return task

    def _settle(self) -> None:
        while self._ended:
            trial_id, said = self._ended[0]
            error = self._errors.get(trial_id, said)
            self._queue.ended(self._run_of_trial[trial_id], error)
            # Asking Ray for its groups takes longer than the rest of handing a run out.
            self._may_be_orphans = self._may_be_orphans or bool(error)
            del self._ended[0], self._run_of_trial[trial_id]
            self._errors.pop(trial_id, None)

    # Tune writes its state down at the start and now and then, to be restored from; ours is in the
    # run folders, and consoles and locks cannot be written down.
    def __getstate__(self) -> dict[str, Any]:
        return {}

    def save(self, checkpoint_path: str) -> None: ...

    def restore(self, checkpoint_path: str) -> None: ...


def sweep(
    tasks: Sequence[RunTask],
    *,
    max_concurrent: int | None = None,
    rules: RetryConfig | Mapping[str, RetryConfig] | None = None,
    on_note: Callable[[str], None] = lambda text: None,
    trainer_class: Callable[..., TrainerLike] | None = None,
    turns: Turns | None = None,
    newcomers: Newcomers | None = None,
    is_local: bool = False,
) -> dict[str, str]:
    """Carry out runs of one launch on the connected Ray.

    `rules` may differ by study; `turns` decides the order, by default that of the tasks.

    As many at once as its nodes hold, which is looked at again and again; at most `max_concurrent`.
    Nodes that join are kept out until `newcomers` has asked them; by default they are like the
    others. `is_local`: all processes of that Ray have this one's environment already.

    Returns when every run has come to an end; one that failed does not stop the others. The result
    names the runs that ended without writing an outcome themselves, with what is known of it.
    """
    queue = RunQueue(tasks, rules or RetryConfig(), on_note, turns)
    newcomers = newcomers or Newcomers(None, on_note)
    unusable = newcomers.unusable
    room = Room(
        tasks,
        at_most=max_concurrent,
        on_note=on_note,
        unusable=unusable,
        avoid=queue.excluded,
    )
    silence = Silence()
    in_order = InOrder()
    withdrawal = _withdrawal(in_order, queue, unusable, on_note)
    for name in ("ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with temporary_folder("rml-tune-") as folder:
        tuner = tune.Tuner(
            _cell(trainer_class),
            tune_config=_tune_config(
                Handout(queue, room, unusable, silence.errors, on_note),
                in_order,
                min(max_concurrent or MOST_AT_ONCE, len(tasks)),
            ),
            run_config=_tune_run_config(tasks[0].launch_id, folder, [silence, withdrawal]),
        )
        watch = Watch(queue, on_note, silence.end_attempt, silence.has_actor)
        poll_s = poll_seconds(RunFolder.of(task.storage, task.run_id) for task in tasks)
        with (
            repeated(watch.look, poll_s, "watch", on_note),
            repeated(newcomers.look, LOOK_EVERY_S, "newcomers", on_note),
            _in_this_environment() if is_local else contextlib.nullcontext(),
        ):
            tuner.fit()
    return queue.lost


def _withdrawal(
    in_order: InOrder,
    queue: RunQueue,
    unusable: Callable[[], Collection[str]],
    on_note: Callable[[str], None],
) -> Withdrawal:
    return Withdrawal(
        in_order,
        unusable,
        queue.note_no_room,
        on_note,
        queue.take_back_unwanted,
        is_bounded=queue.has_bounded_wait,
    )


def _tune_run_config(name: str, folder: Path, callbacks: list[tune.Callback]) -> tune.RunConfig:
    """Tune tries nothing again and prints nothing of its own."""
    return tune.RunConfig(
        name=name,
        storage_path=str(folder),
        failure_config=tune.FailureConfig(max_failures=0),
        callbacks=callbacks,
        verbose=0,
    )


def _tune_config(handout: Handout, in_order: InOrder, at_most: int) -> tune.TuneConfig:
    return tune.TuneConfig(
        search_alg=handout,
        scheduler=in_order,
        num_samples=-1,
        # Tune's own bound: the room is the Handout's affair. As many may wait for theirs.
        max_concurrent_trials=at_most,
        reuse_actors=True,
        trial_name_creator=_run_id_of,
        trial_dirname_creator=_run_id_of,
    )


@contextlib.contextmanager
def _in_this_environment() -> Iterator[None]:
    """Tune's processes begin as those that Ray has ready.

    Otherwise Tune names environment variables for each, and Ray starts another process that has
    them, in which Python and Ray are loaded twice.
    """
    before = (class_cache.DEFAULT_ENV_VARS, class_cache.ENV_VARS_TO_PROPAGATE)
    class_cache.DEFAULT_ENV_VARS = {}
    class_cache.ENV_VARS_TO_PROPAGATE = frozenset()
    try:
        yield
    finally:
        class_cache.DEFAULT_ENV_VARS, class_cache.ENV_VARS_TO_PROPAGATE = before


def _cell(trainer_class: Callable[..., TrainerLike] | None) -> Any:
    """What Tune calls for each run, with what it needs of the cluster."""

    # What they close over is sent and loaded for every run: no tasks are in it.
    def run_cell(config: dict[str, Any]) -> dict[str, str]:
        return {SAID: _run_cell(_task_of(config), trainer_class)}

    def resources(config: dict[str, Any]) -> tune.PlacementGroupFactory:
        # The driver of a worker group only waits: it takes one byte, because Tune wants something,
        # and no CPU.
        task = _task_of(config)
        is_driver = task.execution == "train"
        only = off(task.unusable) if is_driver else label_selector(task)
        cell = {"CPU": 0, "memory": 1} if is_driver else need_of_worker(task)
        labels = {"bundle_label_selector": [only]} if only else {}
        return NamedGroup([cell], task, **labels)

    return tune.with_resources(run_cell, resources)


def _task_of(config: Mapping[str, Any]) -> RunTask:
    """The task that a trial has to carry out."""
    return RUN_TASK.decode(config[TASK], f"the task of {config['run_id']}")


class RunFailed(RmlError):
    """A run failed in this process, which is to train no other; why is in the run's folder."""


def _run_cell(task: RunTask, trainer_class: Callable[..., TrainerLike] | None) -> str:
    """Carry out a run; what Ray Train says of it. Raises RunFailed, after which Tune lets the
    process go."""
    if task.execution == "direct":
        node = ray.get_runtime_context().get_node_id()
        if run_direct(task, trainer_class=trainer_class, node=node) == "failed":
            raise RunFailed(task.run_id)
        return ""
    from rml_platform.launch.on_ray.slot import run_in_slot

    return run_in_slot(task, trainer_class)


def _run_id_of(trial: Any) -> str:
    return str(trial.config["run_id"])
