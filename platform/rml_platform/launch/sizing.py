"""What each run of a study is given of a machine or cluster, and how many of them fit in."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch

from rml_platform.launch.ray_session import ray_session
from rml_platform.planning.cost import runs_at_once
from rml_platform.planning.machine import Machine
from rml_platform.run.task import RunTask
from rml_platform.study.cells import Study
from rml_platform.study.study_file import ResourcesConfig
from rml_trainers.errors import ConfigError


def execution_note(study: Study, address: str | None) -> str:
    if study.execution != "auto":
        return ""
    execution = execution_of(study, is_local=address is None)
    where = "this machine" if address is None else f"the cluster at {address}"
    return f"execution: {execution} (workers of a run: {study.resources.workers}, on {where})"


def sized(task: RunTask, study: Study, there: Mapping[str, float], *, is_local: bool) -> RunTask:
    """The task with what its study gives each run of what is there."""
    resources = study.resources
    gpus = resources.gpus(there.get("GPU", 0))
    # Whether reserved GPUs are real can be seen on this machine only; a cluster that offers some is
    # believed.
    is_real = not is_local or torch.cuda.is_available()
    return replace(
        task,
        execution=execution_of(study, is_local=is_local),
        num_workers=resources.workers,
        cpus_per_worker=resources.cpus_per_worker,
        gpus_per_worker=gpus,
        backend="nccl" if gpus and is_real else "gloo",
    )


def concurrency_of(study: Study, task: RunTask, there: Mapping[str, float]) -> int:
    at_once = concurrency(task, there)
    if at_once < 1:
        raise ConfigError(
            f"{study.source}: resources: one run asks for {task.num_workers} × "
            f"({task.cpus_per_worker:g} cores, {task.gpus_per_worker:g} GPUs); the cluster has "
            f"{there.get('CPU', 0):g} cores and {there.get('GPU', 0):g} GPUs in all"
        )
    return at_once


def execution_of(study: Study, *, is_local: bool) -> Literal["train", "direct"]:
    """How the runs of a study are carried out: as its file says, or the cheaper way that can do it.

    On a cluster `auto` is `train` also for one worker, whose driver then needs no GPU node.
    """
    if study.execution != "auto":
        return study.execution
    return "direct" if is_local and study.resources.workers == 1 else "train"


def concurrency(task: RunTask, resources: Mapping[str, float]) -> int:
    """How many runs of this size the cluster holds at once."""
    need = {
        "CPU": task.num_workers * task.cpus_per_worker,
        "GPU": task.num_workers * task.gpus_per_worker,
    }
    return min(int(resources.get(name, 0) // amount) for name, amount in need.items() if amount > 0)


@dataclass(frozen=True, kw_only=True)
class Room:
    """What there is for runs of one size."""

    at_once: int
    where: str
    """In words."""
    gpus: float
    """Of the whole machine or cluster."""


def room_for(resources: ResourcesConfig, address: str | None, at_once: int | None) -> Room:
    """How many runs of a study fit into this machine or a cluster; `at_once` overrules it.

    Raises:
        ClusterError: the cluster cannot be reached.
    """
    if address is None:
        machine = Machine.here()
        where = "this machine"
    else:
        with ray_session(address, with_train=False):
            from rml_platform.launch.on_ray.sweep import cluster_resources

            there = cluster_resources()
        machine = Machine(cores=int(there.get("CPU", 0)), gpus=int(there.get("GPU", 0)))
        where = f"the cluster at {address}"
    fit = runs_at_once(resources, machine)
    return Room(at_once=at_once or fit, where=where, gpus=machine.gpus)
