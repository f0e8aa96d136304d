"""Whether what the runs of a study ask for can ever be had of the connected Ray."""

from collections.abc import Iterable, Sequence

import ray

from rml_platform.launch.on_ray.fleet import autoscaler
from rml_platform.launch.on_ray.fleet.gpu_share import check_share
from rml_platform.launch.on_ray.fleet.room import (
    ACCELERATOR,
    Node,
    most_by_autoscaler,
    nodes_now,
    runs_on,
    workers_on,
)
from rml_platform.planning.feasible import check_sync_batchnorm
from rml_platform.run.task import RunTask
from rml_platform.study.cells import Study
from rml_trainers.errors import ConfigError


def gpus_there(studies: Iterable[Study]) -> float:
    """GPUs that the connected Ray has, or is known to be able to grow to have.

    Raises ConfigError where a study leaves it to the cluster whether its runs get a GPU, and the
    cluster does not tell: there is none now, and an autoscaler that may add some.
    """
    now: float = ray.cluster_resources().get("GPU", 0.0)
    limits = autoscaler.limits()
    there = max(now, limits.get("GPU", 0.0))
    open_studies = [study for study in studies if study.resources.gpus_per_worker == "auto"]
    if open_studies and there < 1 and not limits and autoscaler.is_at_work():
        raise ConfigError(
            f"{open_studies[0].source}: resources.gpus_per_worker: auto: the cluster has no GPU "
            "now, and its autoscaler does not tell whether it would add one; write "
            "gpus_per_worker: 1, or 0 to train without"
        )
    return there


def check_fits(study: Study, tasks: Sequence[RunTask]) -> None:
    """Raise ConfigError where the cluster holds none of a study's runs and nothing will make it
    grow, where a part of a GPU is not known to be enough for them, or where they need GPUs that the
    cluster does not have."""
    task = tasks[0]
    nodes = nodes_now()
    most_at_once(study, task, nodes)
    try:
        check_share(tasks, kinds_for(task, nodes))
        if task.num_workers > 1 and task.gpus_per_worker == 0:
            for one in tasks:
                check_sync_batchnorm(one.config, one.num_workers, one.gpus_per_worker)
    except ConfigError as error:
        raise ConfigError(f"{study.source}: {error}") from error


def most_at_once(study: Study, task: RunTask, nodes: Sequence[Node]) -> int:
    """How many runs of a study nodes hold, or may hold as far as their autoscaler tells. Raises
    ConfigError where that is not one."""
    most = max(runs_on(nodes, task), most_by_autoscaler(task, nodes))
    if most < 1:
        raise ConfigError(f"{study.source}: resources: {_refusal(task, nodes)}")
    return most


def kinds_for(task: RunTask, nodes: Iterable[Node]) -> list[str]:
    """Kinds of GPU that nodes have which hold a worker of such a run."""
    return _kinds(node for node in nodes if workers_on(node, task) > 0)


def _kinds(nodes: Iterable[Node]) -> list[str]:
    """Kinds of GPU that nodes have."""
    names = {name for node in nodes for name in node.resources if name.startswith(ACCELERATOR)}
    return sorted(name.removeprefix(ACCELERATOR) for name in names)


def _refusal(task: RunTask, nodes: Sequence[Node]) -> str:
    kind = f" {task.accelerator}" if task.accelerator else ""
    each = f"{task.cpus_per_worker:g} cores, {task.gpus_per_worker:g} GPUs{kind}"
    together = " on one node" if task.placement == "one_node" and task.num_workers > 1 else ""
    labels = "".join(f", {key}: {wanted}" for key, wanted in task.labels)
    total = {name: sum(node.resources.get(name, 0.0) for node in nodes) for name in ("CPU", "GPU")}
    kinds = _kinds(nodes)
    seen = f" of kind {', '.join(kinds)}" if kinds else ""
    return (
        f"one run asks for {task.num_workers} × ({each}){together}{labels}; the cluster has "
        f"{total['CPU']:g} cores and {total['GPU']:g} GPUs{seen} in all, on {len(nodes)} nodes, "
        "and no autoscaler that tells of itself and would add some"
    )
