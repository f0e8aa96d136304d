"""Runs in this very process, without Ray: what `execution: direct`, `rml run` and
`rml launch --without-ray` share."""

import contextlib
import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import torch

from rml_platform.launch.run_queue import RunQueue
from rml_platform.launch.scheduling.turns import Turns
from rml_platform.launch.session.gpu_locks import gpu_names, wait_for_free
from rml_platform.planning.machine import Machine
from rml_platform.run.attempt import Outcome, TrainerLike, WorkerContext
from rml_platform.run.execute import execute
from rml_platform.run.faults.outages import until_it_answers
from rml_platform.run.faults.retry_policy import FailureClass, classify
from rml_platform.run.run_folder import RunFolder
from rml_platform.run.task import RunTask
from rml_platform.study.cells import Study
from rml_platform.study.retry_config import RetryConfig
from rml_trainers.errors import ConfigError


def run_direct(
    task: RunTask,
    trainer_class: Callable[..., TrainerLike] | None = None,
    node: str = "",
    local_index: int = 0,
) -> Outcome:
    """One run on one device, the one with this number of those that this process sees. The actor of
    a scheduler sees its own device only, so there the first one is right."""
    context = WorkerContext(writer=task.launch_id, node=node, local_index=local_index)
    return execute(task, context, trainer_class)


def given_here(task: RunTask, gpus: float) -> RunTask:
    """The task with all cores of this machine, and with so many of its GPUs unless its
    configuration wants the CPU."""
    wants_cpu = json.loads(task.config_json)["runtime"]["device"] == "cpu"
    return replace(
        task,
        execution="direct",
        cpus_per_worker=Machine.here().cores,
        gpus_per_worker=0.0 if wants_cpu else gpus,
    )


def gpu_for(
    tasks: Sequence[RunTask], is_wanted: Callable[[], bool], on_note: Callable[[str], None]
) -> contextlib.AbstractContextManager[int | None]:
    """A GPU of this machine for tasks: see `own_gpu`."""
    return own_gpu(any(task.gpus_per_worker > 0 for task in tasks), is_wanted, on_note)


@contextlib.contextmanager
def own_gpu(
    is_needed: bool, is_wanted: Callable[[], bool], on_note: Callable[[str], None]
) -> Iterator[int | None]:
    """The number of a GPU of this machine that no other launch of this user has for as long as the
    context is open, waited for; 0 where none is needed, None where nothing wants it any more."""
    if not is_needed:
        yield 0
        return
    names = gpu_names(Machine.here().gpus)
    held = wait_for_free(names, min(1, len(names)), is_wanted, on_note, at_most=1)
    if held is None:
        yield None
        return
    try:
        index = names.index(held.names[0]) if held.names else 0
        if len(names) > 1:
            # What names no GPU is on this one too. It is not set back: a GPU that failed lets
            # nothing be set, and nothing but the next run here would ask.
            torch.cuda.set_device(index)
        yield index
    finally:
        held.release()


def run_here(
    tasks: Sequence[RunTask],
    rules: RetryConfig | Mapping[str, RetryConfig],
    on_note: Callable[[str], None],
    trainer_class: Callable[..., TrainerLike] | None = None,
    turns: Turns | None = None,
    local_index: int = 0,
) -> Mapping[str, str]:
    """Train one run after the other on this machine, and once more where the rules would have it
    so. A GPU that failed ends that: no process can use it any more that has used it before.

    Args:
        tasks: as `given_here` has them.
        rules: for all runs, or by the name of their study.
        on_note: is told of every further try.
        local_index: which of the GPUs that this process sees.
    Returns:
        Runs that ended without writing down why, with what is known of them.
    """
    queue = RunQueue(tasks, _without_device(rules), on_note, turns)
    while (now := until_it_answers(queue.next)) is not None:
        try:
            run_direct(now, trainer_class, local_index=local_index)
        except Exception:
            # Where a GPU has failed, giving back what the run held of it fails as well.
            if not until_it_answers(functools.partial(_has_lost_its_gpu, now)):
                raise
        until_it_answers(functools.partial(queue.ended, now.run_id, ""))
        if until_it_answers(functools.partial(_has_lost_its_gpu, now)):
            on_note(
                f"{now.run_id} failed over its GPU, which this process cannot use any more: it "
                "starts no other run. What is left goes on when it is launched again"
            )
            break
    return queue.lost


def _without_device(
    rules: RetryConfig | Mapping[str, RetryConfig],
) -> RetryConfig | Mapping[str, RetryConfig]:
    """Rules under which a GPU that failed is not tried again: it would be in the same process."""
    if isinstance(rules, RetryConfig):
        return replace(rules, device=0)
    return {name: replace(own, device=0) for name, own in rules.items()}


def _has_lost_its_gpu(task: RunTask) -> bool:
    failure = RunFolder.of(task.storage, task.run_id).record().failure_of(task.launch_id)
    if failure is None:
        return False
    return classify((failure.kind,), failure.message) is FailureClass.DEVICE


def check_is_for_one_process(
    study: Study | None, *, address: str | None, ship: bool, max_concurrent: int | None
) -> None:
    """Raises ConfigError where the options, or a study, ask for more than one process or for a node
    of a kind."""
    asked = {
        "--address or RAY_ADDRESS": address is not None,
        "--ship": ship,
        "--max-concurrent": max_concurrent not in (None, 1),
    }
    if study is not None:
        asked |= {
            "resources.workers": study.resources.workers != 1,
            "resources.accelerator": study.resources.accelerator is not None,
            "resources.labels": bool(study.resources.labels),
            "execution: train": study.execution == "train",
        }
    if any(asked.values()):
        what = ", ".join(name for name, is_asked in asked.items() if is_asked)
        where = f"{study.source}: " if study is not None else ""
        raise ConfigError(
            f"{where}--without-ray trains one run after the other in one process of this machine, "
            f"which does not go with {what}"
        )


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
    """Train what a launch has to do here, as `given_here` has it. Raises ConfigError as
    `check_is_for_one_process` does."""
    for study in studies.values():
        check_is_for_one_process(study, address=address, ship=ship, max_concurrent=max_concurrent)
        unheard = _rules_of_hanging(study.retry)
        if unheard:
            on_note(
                f"{study.source}: --without-ray has nobody beside a run who would see it hang: "
                f"{', '.join(unheard)} say nothing here"
            )
    rules = {name: study.retry for name, study in studies.items()}
    with gpu_for(tasks, lambda: turns.may_any_start(tasks), on_note) as index:
        if index is None:
            for task in tasks:  # it says why of those that wait
                turns.add(task)
            return {}
        return run_here(tasks, rules, on_note, trainer_class, turns, index)


def _rules_of_hanging(rules: RetryConfig) -> list[str]:
    """Those that a study has changed, by their place in its file."""
    default = RetryConfig()
    names = [field.name for field in fields(rules) if field.name.startswith("hang")]
    return [f"retry.{name}" for name in names if getattr(rules, name) != getattr(default, name)]
