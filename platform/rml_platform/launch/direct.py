"""Runs in this very process, without Ray: what `execution: direct`, `rml run` and
`rml launch --without-ray` share."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rml_platform.launch.run_queue import RunQueue
from rml_platform.launch.scheduling.turns import Turns
from rml_platform.planning.machine import Machine
from rml_platform.run.attempt import Outcome, TrainerLike, WorkerContext
from rml_platform.run.execute import execute
from rml_platform.run.faults.outages import until_it_answers
from rml_platform.run.task import RunTask
from rml_platform.study.cells import Study
from rml_platform.study.retry_config import RetryConfig
from rml_trainers.errors import ConfigError


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
    while (now := until_it_answers(queue.next)) is not None:
        run_direct(now, trainer_class)
        until_it_answers(functools.partial(queue.ended, now.run_id, ""))
    return queue.lost


def carry_out_here(
    tasks: Sequence[RunTask],
    *,
    turns: Turns,
    studies: Mapping[str, Study],
    address: str | None,
    max_concurrent: int | None,
    ship: bool,
    trainer_class: Callable[..., Any] | None,
    on_note: Callable[[str], None],
) -> Mapping[str, str]:
    """Train what a launch has to do here. Raises ConfigError where somebody asked for more than
    one process."""
    for study in studies.values():
        asked = {
            "resources.workers": study.resources.workers != 1,
            "execution: train": study.execution == "train",
            "--address or RAY_ADDRESS": address is not None,
            "--ship": ship,
            "--max-concurrent": max_concurrent not in (None, 1),
        }
        if any(asked.values()):
            what = ", ".join(name for name, is_asked in asked.items() if is_asked)
            raise ConfigError(
                f"{study.source}: --without-ray trains one run after the other in one process, "
                f"which does not go with {what}"
            )
    rules = {name: study.retry for name, study in studies.items()}
    return run_here(tasks, rules, on_note, trainer_class, turns)
