"""What a launch has to do, on a Ray that is joined or started for it, checked, and left again."""

import contextlib
import functools
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, TypedDict

from rml_dashboards.contract.run_folder import RESULT_FILE, RUNS
from rml_platform.launch.scheduling.turns import Turns
from rml_platform.launch.session.gpu_locks import HeldGpus, gpu_names, take_free, wait_for_free
from rml_platform.launch.session.local_ray import LocalRay
from rml_platform.launch.session.ray_session import ray_session
from rml_platform.launch.sizing import execution_note, execution_of, plugins_of_tasks, sized
from rml_platform.planning.cost import runs_at_once
from rml_platform.planning.machine import Machine
from rml_platform.planning.plan import Plan
from rml_platform.run.storage import Folder
from rml_platform.run.task import RunTask
from rml_platform.study.cells import Study
from rml_trainers.errors import ConfigError


class _Size(TypedDict):
    """What a local Ray needs to know."""

    with_train: bool
    num_cpus: int
    at_once: int


def _size(of_each_run: Collection[Study], max_concurrent: int | None) -> _Size:
    """Given the study of each run."""
    here = Machine.here()
    studies = {study.name: study for study in of_each_run}.values()
    room = max(runs_at_once(study.resources, here) for study in studies)
    return {
        "with_train": any(execution_of(study, is_local=True) == "train" for study in studies),
        "num_cpus": here.cores,
        "at_once": min(room, len(of_each_run), max_concurrent or room),
    }


def _gpus_of_a_run(studies: Iterable[Study]) -> int:
    """The most GPUs of this machine that one run asks for, as far as there are so many."""
    there = Machine.here().gpus
    asked = (study.resources.workers * study.resources.gpus(there) for study in studies)
    return min(there, math.ceil(max(asked, default=0)))


def _gpus_of_use(of_each_run: Iterable[Study], max_concurrent: int | None) -> int:
    """The most GPUs of this machine that runs can use at once, given the study of each."""
    there = Machine.here().gpus
    needs = sorted((_gpus_of(study, there) for study in of_each_run), reverse=True)
    return min(there, math.ceil(sum(needs[:max_concurrent])))


def _gpus_of(study: Study, there: int) -> Fraction:
    gpus = study.resources.gpus(there)
    if 0 < gpus < 1:  # so many runs share one, and what is left of it is of no use
        return Fraction(1, int(1 / gpus))
    return Fraction(study.resources.workers * gpus)


@contextlib.contextmanager
def ray_ahead(
    plans: Sequence[Plan], storage: str, is_wanted: bool, max_concurrent: int | None = None
) -> Iterator[LocalRay | None]:
    """Begin to start a Ray of this machine where some run has no result yet and there are GPUs for
    all that can be under way at once, for `on_ray`; it ends with the context at the latest.

    The launch meanwhile opens its tracker, which takes about as long.
    """
    left = _studies_of_runs_left(plans, storage) if is_wanted else []
    if not left:
        yield None
        return
    of_use = _gpus_of_use(left, max_concurrent)
    gpus = take_free(gpu_names(Machine.here().gpus if of_use else 0), of_use)
    if len(gpus.names) < of_use:  # the launch tells it where it has to do something
        gpus.release()
        yield None
        return
    ahead = LocalRay(**_size(left, max_concurrent), gpus=gpus)
    try:
        ahead.wait_begun()
        yield ahead
    finally:
        ahead.close()


def _studies_of_runs_left(plans: Sequence[Plan], storage: str) -> list[Study]:
    """The study of each run that has no result, one for each; none where looking would take its
    time, on object storage."""
    runs = Folder.open(storage).child(RUNS).local
    if runs is None:
        return []
    study_of = {run.run_id: plan.study for plan in reversed(plans) for run in plan.runs}
    return [
        study for run_id, study in study_of.items() if not (runs / run_id / RESULT_FILE).is_file()
    ]


def on_ray(ahead: LocalRay | None) -> Callable[..., dict[str, str]]:
    """Carries out tasks on Ray, on the one that was begun before where there is one."""
    return functools.partial(_carry_out, ahead=ahead)


def _gpus_for(
    tasks: Sequence[RunTask],
    studies: Mapping[str, Study],
    turns: Turns,
    max_concurrent: int | None,
    on_note: Callable[[str], None],
) -> HeldGpus | None:
    """GPUs of this machine that no other launch has, enough for one run and no more than all can
    use, waited for; None where meanwhile none of the runs may be started any more."""
    of_each = [studies[task.study] for task in tasks]
    of_a_run = _gpus_of_a_run(of_each)
    names = gpu_names(Machine.here().gpus if of_a_run else 0)
    of_use = _gpus_of_use(of_each, max_concurrent)
    return wait_for_free(names, of_a_run, lambda: turns.may_any_start(tasks), on_note, of_use)


def check_ship(address: str | None, *, ship: bool) -> None:
    """Raises ConfigError where there are no nodes to send the code to."""
    if ship and address is None:
        raise ConfigError("--ship sends the code to the nodes of a cluster: give its --address")


def _carry_out(
    tasks: Sequence[RunTask],
    *,
    turns: Turns,
    studies: Mapping[str, Study],
    address: str | None,
    max_concurrent: int | None,
    ship: bool,
    trainer_class: Callable[..., Any] | None,
    on_note: Callable[[str], None],
    ahead: LocalRay | None,
) -> dict[str, str]:
    check_ship(address, ship=ship)
    is_local = address is None
    needed = {name: studies[name] for name in dict.fromkeys(task.study for task in tasks)}
    for text in dict.fromkeys(execution_note(study, address) for study in needed.values()):
        if text:
            on_note(text)
    held: HeldGpus | None = HeldGpus()
    if is_local and (ahead is None or ahead.is_closed):
        held = _gpus_for(tasks, needed, turns, max_concurrent, on_note)
    if held is None:
        for task in tasks:  # it says why of those that wait
            turns.add(task)
        return {}
    with ray_session(
        address,
        **_size([studies[task.study] for task in tasks], max_concurrent),
        gpus=held,
        ship=plugins_of_tasks(tasks) if ship else None,
        ahead=ahead,
    ):
        from rml_platform.launch.on_ray.fleet.fitting import check_fits, gpus_there
        from rml_platform.launch.on_ray.fleet.newcomers import Newcomers
        from rml_platform.launch.on_ray.fleet.readiness import Readiness
        from rml_platform.launch.on_ray.sweep import sweep

        gpus = gpus_there(needed.values())
        tasks = [sized(task, studies[task.study], gpus, is_local=is_local) for task in tasks]
        for name, study in needed.items():
            check_fits(study, [task for task in tasks if task.study == name])
        newcomers = None
        if not is_local:
            readiness = Readiness(tasks, on_note, is_shipped=ship)
            newcomers = Newcomers(readiness.judge, on_note)
            readiness.make()
            tasks = readiness.tasks
        return sweep(
            tasks,
            max_concurrent=max_concurrent,
            rules={name: study.retry for name, study in needed.items()},
            on_note=on_note,
            trainer_class=trainer_class,
            turns=turns,
            newcomers=newcomers,
            is_local=is_local,
        )
