"""Carries out one RunTask in this process: the same for a Ray Train worker, a Tune actor and
`rml run`."""

import functools
from collections.abc import Callable
from typing import cast

from rml_platform.run.attempt import Attempt, Outcome, TrainerLike, WorkerContext
from rml_platform.run.faults.outages import through_outages
from rml_platform.run.faults.retry_policy import WORKERS_DIED, class_of
from rml_platform.run.reporters import Cancelled
from rml_platform.run.task import RunTask
from rml_trainers.runtime.device import release_memory
from rml_trainers.runtime.loading import spare_what_is_loaded


def execute(
    task: RunTask, context: WorkerContext, trainer_class: Callable[..., TrainerLike] | None = None
) -> Outcome:
    """Train what is left of a run and write its result, or why it failed.

    A failure of the program (as opposed to a lost process) is written down and not raised: the
    launcher reads it there and decides. With several workers it must be raised, so that the others
    do not wait for this one for ever.
    """
    if trainer_class is None:
        from rml_trainers.training.trainer import Trainer

        trainer_class = Trainer
    spare_what_is_loaded("before a run")
    attempt = through_outages(lambda: Attempt(task, context))
    so_far = through_outages(attempt.outcome_so_far) if attempt.is_first else None
    outcome = context.agree(so_far)
    if outcome is not None:
        return cast(Outcome, outcome)
    try:
        attempt.train(trainer_class)
    except Exception as error:
        if _is_collateral(error, context.world_size):
            raise
        outcome = through_outages(functools.partial(_written_down, attempt, error))
        if context.world_size > 1:
            raise
        return outcome
    finally:
        through_outages(attempt.give_back)
        release_memory()  # the process may wait for its next run, beside others that train
    # After a failure its traceback may still hold networks, which would be kept for good.
    spare_what_is_loaded("after a run")
    return "done"


def _written_down(attempt: Attempt, error: Exception) -> Outcome:
    """What became of an attempt that ended in an error, which is in the run's folder then, unless
    the run is another's or another worker has written down why. May be asked again after an
    outage: the run may be another's by then."""
    if attempt.is_fenced():
        return "fenced"
    if attempt.run.record().failure_of(attempt.task.launch_id) is None:
        attempt.run.write_failure(attempt.failure(error))
    return "cancelled" if isinstance(error, Cancelled) else "failed"


def _is_collateral(error: Exception, world_size: int) -> bool:
    """Whether another process may have died under this one: what became of the group is told by
    Ray.

    That may be another worker of the group, or one of Ray's helpers that goes first when a group is
    taken down.
    """
    is_rays = type(error).__module__.split(".")[0] == "ray"
    return class_of(error) in WORKERS_DIED and (world_size > 1 or is_rays)
