"""`execution: train`: one Ray Train group per run, one worker process per device. Nothing else
knows Ray Train."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
import ray.train
import ray.train.collective
from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig

from rml_platform.launch.on_ray.fleet.room import need_of_worker
from rml_platform.launch.on_ray.nodes import label_selector
from rml_platform.launch.on_ray.single_worker import SingleWorker
from rml_platform.run.checkpoints import NUM_TO_KEEP, CheckpointStore
from rml_platform.run.storage import Folder
from rml_platform.run.task import RUN_TASK, RunTask


def run_with_ray_train(task: RunTask, trainer_class: Callable[..., Any] | None = None) -> str:
    """Train one run with a group of `num_workers` workers; the outcome is in the run's folder.

    One attempt: Ray Train retries nothing. Returns what it says where the group failed, was lost or
    could not be started, and nothing else.
    """
    from ray.train.torch import TorchConfig, TorchTrainer

    run_folder = Folder.open(task.storage).child("runs", task.run_id)
    store = run_folder.child("checkpoints")
    taken = store.folders()
    writer = next(
        name for i in range(len(taken) + 1) if (name := f"{task.launch_id}.{i}") not in taken
    )
    trainer = TorchTrainer(
        _work,
        train_loop_config={
            "task": RUN_TASK.encode(task),
            "writer": writer,
            "trainer_class": trainer_class,
        },
        scaling_config=ScalingConfig(
            num_workers=task.num_workers,
            use_gpu=task.gpus_per_worker > 0,
            resources_per_worker=need_of_worker(task),
            label_selector=label_selector(task) or None,
            placement_strategy="STRICT_PACK" if task.placement == "one_node" else "PACK",
        ),
        torch_config=TorchConfig(backend=task.backend) if task.num_workers > 1 else SingleWorker(),
        run_config=RunConfig(
            name=writer,
            storage_path=store.path,
            storage_filesystem=None if store.local else store.filesystem,
            checkpoint_config=CheckpointConfig(num_to_keep=NUM_TO_KEEP),
            failure_config=FailureConfig(
                max_failures=0, controller_failure_limit=0, max_preemption_failures=0
            ),
        ),
    )
    said = ""
    try:
        trainer.fit()
    except (ray.train.WorkerGroupError, ray.train.ControllerError) as error:
        said = f"{type(error).__name__}: {error}"
    # A worker killed right after it stored a checkpoint leaves one that Ray Train never heard of
    # and never deletes.
    CheckpointStore(run_folder, writer).prune(own=True)
    return said


def _work(config: dict[str, Any]) -> None:
    """What every worker of the group does."""
    from rml_platform.run.attempt import WorkerContext
    from rml_platform.run.execute import execute

    group = ray.train.get_context()

    def deliver(name: str, folder: Path | None) -> None:
        checkpoint = None if folder is None else ray.train.Checkpoint.from_directory(str(folder))
        ray.train.report({"checkpoint": name}, checkpoint=checkpoint, checkpoint_dir_name=name)

    context = WorkerContext(
        writer=config["writer"],
        rank=group.get_world_rank(),
        node=ray.get_runtime_context().get_node_id(),
        world_size=group.get_world_size(),
        local_index=group.get_local_rank(),
        deliver=deliver,
        agree=ray.train.collective.broadcast_from_rank_zero,
    )
    execute(
        RUN_TASK.decode(config["task"], "the task of this worker"), context, config["trainer_class"]
    )
