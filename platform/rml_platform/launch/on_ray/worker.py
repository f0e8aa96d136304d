"""`execution: train`: groups of Ray Train workers, one process per device. Nothing else knows Ray
Train."""

from collections.abc import Callable
from typing import Any

import ray
import ray.train
import ray.train.collective
from fsspec.implementations.memory import MemoryFileSystem
from pyarrow.fs import FSSpecHandler, PyFileSystem
from ray.train import FailureConfig, RunConfig, ScalingConfig

from rml_platform.launch.on_ray.fleet.room import need_of_worker
from rml_platform.launch.on_ray.nodes import label_selector
from rml_platform.launch.on_ray.single_worker import SingleWorker
from rml_platform.run.task import RUN_TASK, RunTask


def train_group(task: RunTask, mailbox: Any, trainer_class: Callable[..., Any] | None) -> str:
    """Train with one group of workers, made for a run, all the runs that come into a mailbox.

    Returns what Ray Train says where the group failed, was lost or could not be started, and
    nothing else. Checkpoints are ours: Ray Train keeps nothing that is read.
    """
    from ray.train.torch import TorchConfig, TorchTrainer

    trainer = TorchTrainer(
        _work,
        train_loop_config={"mailbox": mailbox, "trainer_class": trainer_class},
        scaling_config=ScalingConfig(
            num_workers=task.num_workers,
            use_gpu=task.gpus_per_worker > 0,
            resources_per_worker=need_of_worker(task),
            label_selector=label_selector(task) or None,
            placement_strategy="STRICT_PACK" if task.placement == "one_node" else "PACK",
        ),
        torch_config=(
            TorchConfig(backend=task.backend) if task.num_workers > 1 else SingleWorker()
        ),
        run_config=RunConfig(
            name="group",
            # Nothing that Ray Train writes is read. In the memory of its processes it goes with
            # them; a folder would stay where they are killed.
            storage_path="rml",
            storage_filesystem=PyFileSystem(FSSpecHandler(MemoryFileSystem())),  # type: ignore[abstract]
            failure_config=FailureConfig(
                max_failures=0, controller_failure_limit=0, max_preemption_failures=0
            ),
        ),
    )
    try:
        trainer.fit()
    except (
        ray.train.WorkerGroupError,
        ray.train.ControllerError,
        ray.exceptions.RayError,
    ) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _work(config: dict[str, Any]) -> None:
    """What every worker of the group does."""
    from rml_platform.run.attempt import WorkerContext
    from rml_platform.run.execute import execute

    group = ray.train.get_context()
    mailbox = config["mailbox"]
    node = ray.get_runtime_context().get_node_id()
    number = 0
    while (text := ray.get(mailbox.take.remote(number, node))) is not None:
        task = RUN_TASK.decode(text.encode(), "the task of this worker")
        context = WorkerContext(
            writer=task.launch_id,
            rank=group.get_world_rank(),
            node=node,
            world_size=group.get_world_size(),
            local_index=group.get_local_rank(),
            agree=(
                ray.train.collective.broadcast_from_rank_zero
                if group.get_world_size() > 1
                else lambda value: value
            ),
        )
        outcome = execute(task, context, config["trainer_class"])
        is_last = outcome == "failed"
        if context.rank == 0:
            ray.get(mailbox.answer.remote(is_last=is_last))
        if is_last:
            break
        number += 1
