"""Ray Tune over the runs of a launch. The only place that knows Tune.

Tune schedules and bounds; it keeps no state that we read: what became of a run is in the run's
folder.
"""

import logging
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import ray
from ray import tune
from ray.tune.progress_reporter import TrialProgressCallback

from rml_platform.launch.direct import run_direct
from rml_platform.run.attempt import TrainerLike
from rml_platform.run.task import RUN_TASK, RunTask


class Silence(TrialProgressCallback):  # type: ignore[misc]
    """Takes the place of the callback that prints a line for every trial, whatever the
    verbosity."""

    def _print(self, msg: str) -> None: ...


def sweep(
    tasks: Sequence[RunTask],
    *,
    max_concurrent: int,
    trainer_class: Callable[..., TrainerLike] | None = None,
) -> dict[str, str]:
    """Carry out runs of one launch (all with the same execution and resources) on the connected
    Ray.

    Returns when every run has come to an end; one that failed does not stop the others. The result
    names the runs that ended without writing an outcome themselves, with what Ray says about it.
    """
    first = tasks[0]
    # As JSON: the configuration of a plug-in's class could not be unpickled before its plug-in is
    # loaded, which the run itself does.
    by_id = {task.run_id: RUN_TASK.encode(task) for task in tasks}
    for name in ("ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.CRITICAL)

    def run_cell(config: dict[str, Any]) -> None:
        run_id = config["run_id"]
        _run_cell(RUN_TASK.decode(by_id[run_id], f"the task of {run_id}"), trainer_class)

    # The driver of a worker group only waits: it takes one byte, because Tune wants something, and
    # no CPU.
    is_direct = first.execution == "direct"
    cell = (
        {"CPU": first.cpus_per_worker, "GPU": first.gpus_per_worker}
        if is_direct
        else {"CPU": 0, "memory": 1}
    )
    with tempfile.TemporaryDirectory(prefix="rml-tune-") as folder:
        tuner = tune.Tuner(
            tune.with_resources(run_cell, cell),
            param_space={"run_id": tune.grid_search(list(by_id))},
            tune_config=tune.TuneConfig(
                max_concurrent_trials=min(max_concurrent, len(tasks)),
                reuse_actors=True,
                trial_name_creator=_run_id_of,
                trial_dirname_creator=_run_id_of,
            ),
            run_config=tune.RunConfig(
                name=first.launch_id,
                storage_path=folder,
                failure_config=tune.FailureConfig(max_failures=first.max_retries + 1),
                callbacks=[Silence()],
                verbose=0,
            ),
        )
        results = tuner.fit()
    return {
        str(r.config["run_id"]): str(r.error)
        for r in results
        if r.error is not None and r.config is not None
    }


def cluster_resources() -> dict[str, float]:
    """What the connected Ray has in all, by resource."""
    return dict(ray.cluster_resources())


def _run_cell(task: RunTask, trainer_class: Callable[..., TrainerLike] | None) -> None:
    if task.execution == "direct":
        run_direct(task, trainer_class=trainer_class)
        return
    from rml_platform.launch.worker import run_with_ray_train

    run_with_ray_train(task, trainer_class)


def _run_id_of(trial: Any) -> str:
    return str(trial.config["run_id"])
