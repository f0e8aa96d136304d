"""Runs in this very process, without Ray: what `execution: direct`, `rml run` and
`rml launch --without-ray` share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from rml_platform.launch.run_queue import RunQueue
from rml_platform.launch.scheduling.turns import Turns
from rml_platform.planning.machine import Machine
from rml_platform.run.attempt import Outcome, TrainerLike, WorkerContext
from rml_platform.run.execute import execute
from rml_platform.run.task import RunTask
from rml_platform.study.retry_config import RetryConfig


def run_direct(
    task: RunTask,
    trainer_class: Callable[..., TrainerLike] | None = None,
    node: str = "",
) -> Outcome:
    """One run on one device. The actor of a scheduler sees its own device only, so the first
    visible one is right."""
    return execute(task, WorkerContext(writer=task.launch_id, node=node), trainer_class)


def run_here(
    tasks: Sequence[RunTask],
    rules: RetryConfig | Mapping[str, RetryConfig],
    on_note: Callable[[str], None],
    trainer_class: Callable[..., TrainerLike] | None = None,
    turns: Turns | None = None,
) -> Mapping[str, str]:
    """Train one run after the other with all cores of this machine, and once more where the rules
    would have it so.

    Args:
        rules: for all runs, or by the name of their study.
        on_note: is told of every further try.
    Returns:
        Runs that ended without writing down why, with what is known of them.
    """
    cores = Machine.here().cores
    sized = [replace(task, execution="direct", cpus_per_worker=cores) for task in tasks]
    queue = RunQueue(sized, rules, on_note, turns)
    while (now := queue.next()) is not None:
        run_direct(now, trainer_class)
        queue.ended(now.run_id, "")
    return queue.lost
