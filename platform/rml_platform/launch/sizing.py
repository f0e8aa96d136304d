"""What each run of a study is told, and given of a machine or cluster; how many of them fit in."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from rml_platform.environment import code_version
from rml_platform.launch.direct import given_here
from rml_platform.launch.output_layout import OutputLayout
from rml_platform.launch.session.ray_session import ray_session
from rml_platform.planning.cost import runs_at_once
from rml_platform.planning.machine import Machine
from rml_platform.planning.plan import Plan, PlannedRun
from rml_platform.planning.plan_file.writing import study_labels
from rml_platform.run.task import Process, RunTask, config_to_json, prepared_folder_text
from rml_platform.study.cells import Study
from rml_trainers import RESULT_VERSION
from rml_trainers.errors import ConfigError
from rml_trainers.settings.plugins import Plugin, plugins_with_metrics
from rml_trainers.training.identity import plugins_of


def task_of(
    run: PlannedRun, study: str, layout: OutputLayout, data_root: Path | None, launch_id: str
) -> RunTask:
    """What a worker is told about a run. Resources are filled in when it is known where it will
    run."""
    code = code_version()
    plugins = dict.fromkeys((*plugins_of(run.config), *plugins_with_metrics()))
    return RunTask(
        run_id=run.run_id,
        config_json=config_to_json(run.config),
        storage=layout.storage if "://" in layout.storage else str(Path(layout.storage).resolve()),
        prepared_folder=prepared_folder_text(run.prepared_folder, layout.storage),
        class_names=run.class_names,
        num_labelled=len(run.split.labelled),
        num_unlabelled=len(run.split.unlabelled),
        data_root=str(data_root.resolve()) if data_root else None,
        split_hash=run.split_hash,
        data_hash=run.data_hash,
        study=study,
        launch_id=launch_id,
        launcher=Process.current(),
        code_version=code.version,
        dirty=code.dirty,
        result_version=RESULT_VERSION,
        repeat_of=run.repeat_of,
        plugins=tuple(plugins),
    )


def tasks_of(
    plans: Sequence[Plan], layout: OutputLayout, data_root: Path | None, launch_id: str
) -> Iterator[tuple[RunTask, Study]]:
    """Every run of the plans once, with the first study that has it."""
    first = {run.run_id: (run, plan.study) for plan in reversed(plans) for run in plan.runs}
    for run_id in dict.fromkeys(run.run_id for plan in plans for run in plan.runs):
        run, study = first[run_id]
        yield task_of(run, study.name, layout, data_root, launch_id), study


def check_names(studies: Sequence[Study]) -> None:
    """What a study's name stands for must be one thing: its plan, its table, its experiment."""
    sources: dict[str, str] = {}
    for study in studies:
        if study.name in sources:
            raise ConfigError(
                f"{study.source}: name: {sources[study.name]} is called {study.name!r}, too, and "
                "each would overwrite the other's plan and table; rename one, or launch one of them"
            )
        sources[study.name] = study.source


def execution_note(study: Study, address: str | None) -> str:
    if study.execution != "auto":
        return ""
    execution = execution_of(study, is_local=address is None)
    where = "this machine" if address is None else f"the cluster at {address}"
    return f"execution: {execution} (workers of a run: {study.resources.workers}, on {where})"


def sized(task: RunTask, study: Study, gpus_there: float, *, is_local: bool) -> RunTask:
    """The task with what its study gives each run of a machine or cluster with so many GPUs."""
    resources = study.resources
    gpus = resources.gpus(gpus_there)
    # Whether reserved GPUs are real can be seen on this machine only; a cluster that offers some is
    # believed.
    has_gpus = gpus > 0 and (not is_local or torch.cuda.is_available())
    return replace(
        task,
        execution=execution_of(study, is_local=is_local),
        num_workers=resources.workers,
        cpus_per_worker=resources.cpus_per_worker,
        gpus_per_worker=gpus,
        accelerator=resources.accelerator,
        labels=tuple(sorted(resources.labels.items())),
        placement=resources.placement,
        backend="nccl" if has_gpus else "gloo",
    )


def sized_ahead(
    task: RunTask, study: Study, here: Machine, *, is_local: bool, with_ray: bool
) -> RunTask:
    """The task with what it is going to be given, as far as that is known before Ray is there: a
    budget is asked about it by then. A cluster is taken to have GPUs until it is joined."""
    if not with_ray:
        return given_here(task, study.resources.gpus(here.gpus))
    return sized(task, study, here.gpus if is_local else 1, is_local=is_local)


def execution_of(study: Study, *, is_local: bool) -> Literal["train", "direct"]:
    """How the runs of a study are carried out: as its file says, or the cheaper way that can do it.

    On a cluster `auto` is `train` also for one worker, whose driver then needs no GPU node.
    """
    if study.execution != "auto":
        return study.execution
    return "direct" if is_local and study.resources.workers == 1 else "train"


def labels_of(plans: Sequence[Plan]) -> dict[str, dict[str, dict[str, str]]]:
    """By study and run id, the tags that only the study knows. Raises ConfigError where two
    studies have one name."""
    check_names([plan.study for plan in plans])
    return {plan.study.name: study_labels(plan) for plan in plans}


@dataclass(frozen=True, kw_only=True)
class Room:
    """What there is for runs of one size."""

    at_once: int
    where: str
    """In words."""
    gpus: float
    """Of the whole machine or cluster."""
    gpu_kinds: tuple[str, ...] = ()
    """Of a cluster's GPUs that a run may get, as Ray names them."""


def room_for(plan: Plan, layout: OutputLayout, address: str | None, at_once: int | None) -> Room:
    """How many runs of a study fit into this machine or a cluster, as a launch would find them to
    fit; `at_once` overrules it.

    Raises:
        ClusterError: the cluster cannot be reached.
        ConfigError: it holds none of the runs and nothing will make it grow.
    """
    study = plan.study
    if address is None:
        machine = Machine.here()
        fit = runs_at_once(study.resources, machine)
        return Room(at_once=at_once or fit, where="this machine", gpus=machine.gpus)
    with ray_session(address, with_train=False):
        from rml_platform.launch.on_ray.fleet.fitting import (
            gpus_there,
            kinds_for,
            most_at_once,
        )
        from rml_platform.launch.on_ray.fleet.room import nodes_now

        gpus = gpus_there([study])
        task = task_of(plan.runs[0], study.name, layout, None, "")
        task = sized(task, study, gpus, is_local=False)
        nodes = nodes_now()
        fit = most_at_once(study, task, nodes)
        kinds = [task.accelerator] if task.accelerator else kinds_for(task, nodes)
    return Room(
        at_once=at_once or fit,
        where=f"the cluster at {address}",
        gpus=gpus,
        gpu_kinds=tuple(kinds),
    )


def plugins_of_tasks(tasks: Sequence[RunTask]) -> tuple[Plugin, ...]:
    """The plug-ins that runs need, each once."""
    return tuple({plugin.location: plugin for task in tasks for plugin in task.plugins}.values())
