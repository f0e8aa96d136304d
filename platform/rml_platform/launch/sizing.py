"""What each run of a study is given of a machine or cluster, and how many of them fit in."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import torch

from rml_platform.run.task import RunTask
from rml_platform.study.cells import Study
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
