"""Launching the runs of a plan: what is done is left alone, what was cut off goes on, the rest is
started.

Every launch is a fresh sweep over the runs that have no result yet. Launching twice does nothing
the second time; launching again after anything was killed finishes it.
"""

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console

from rml_platform.environment import code_version
from rml_platform.launch.live_view import LiveView
from rml_platform.launch.outcomes import (
    LaunchReport,
    close,
    note_old_metrics,
    triage,
    write_losses,
)
from rml_platform.launch.output_layout import OutputLayout
from rml_platform.launch.ray_session import ray_session
from rml_platform.launch.stop_signals import exit_code_of, stopping_on_signals
from rml_platform.planning.machine import Machine
from rml_platform.planning.plan import Plan, PlannedRun
from rml_platform.run.retry_policy import RETRY_BUDGET, FailureClass
from rml_platform.run.run_folder import RunFolder
from rml_platform.run.shared_stages import mark_shared
from rml_platform.run.task import Process, RunTask, config_to_json
from rml_platform.study.cells import Study
from rml_platform.tracking.opening import open_tracker
from rml_platform.tracking.publisher import Publisher
from rml_trainers import RESULT_VERSION
from rml_trainers.errors import ConfigError
from rml_trainers.settings.plugins import plugins_with_metrics
from rml_trainers.training.identity import plugins_of


def launch(
    plan: Plan,
    *,
    layout: OutputLayout,
    data_root: Path | None,
    tracking_uri: str | None = None,
    address: str | None = None,
    max_concurrent: int | None = None,
    console: Console | None = None,
    trainer_class: Callable[..., Any] | None = None,
) -> LaunchReport:
    """Bring every run of a plan to its end; Ctrl-C, SIGTERM and SIGHUP stop cleanly and are told in
    the report.

    Args:
        tracking_uri: MLflow server or database, or `none`; default: an SQLite file under the
            layout's root.
        address: Ray cluster; default: a local Ray for this launch alone.
        max_concurrent: most runs at the same time; default: as many as the resources allow.
    Raises:
        TrackingError: MLflow cannot be used; nothing was started.
        ConfigError: one run needs more than the cluster has.
    """
    started = time.monotonic()
    report = LaunchReport()
    console = console or Console()
    tracker = open_tracker(tracking_uri, layout.root, layout.artifacts)
    tracker.check()
    on_note = note_on(console)
    publisher = Publisher(tracker, plan.study.name, on_note)
    launch_id = new_launch_id()
    folders = {run.run_id: RunFolder.of(layout.storage, run.run_id) for run in plan.runs}
    todo = triage(folders, report, on_note)
    note_old_metrics([folders[run_id] for run_id in report.done_before], on_note)
    publisher.sync(folders[i] for i in report.done_before)
    if todo:
        all_tasks = [
            task_of(run, plan.study.name, layout, data_root, launch_id) for run in plan.runs
        ]
        done = [task for task in all_tasks if task.run_id not in todo]
        tasks = mark_shared([task for task in all_tasks if task.run_id in todo], done)
        try:
            with (
                stopping_on_signals(),
                LiveView([folders[i] for i in todo], publisher, console),
            ):
                lost = _carry_out(tasks, plan.study, address, max_concurrent, trainer_class)
            write_losses(lost, folders, launch_id)
        except KeyboardInterrupt as stop:
            report.stopped_with = exit_code_of(stop)
        finally:
            for run_id in todo:
                close(folders[run_id], launch_id, report)
            report.untracked = publisher.sync(folders.values(), closing=True)
    report.seconds = time.monotonic() - started
    return report


def note_on(console: Console) -> Callable[[str], None]:
    """Where the publisher's notes go."""
    return lambda text: console.print(f"note: {text}", markup=False, highlight=False)


def new_launch_id() -> str:
    """Unique and sortable."""
    return time.strftime("%Y%m%d-%H%M%S-") + uuid.uuid4().hex[:4]


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
        prepared_folder=str(run.prepared_folder.resolve()),
        data_root=str(data_root.resolve()) if data_root else None,
        split_hash=run.split_hash,
        data_hash=run.data_hash,
        study=study,
        launch_id=launch_id,
        launcher=Process.current(),
        code_version=code.version,
        dirty=code.dirty,
        result_version=RESULT_VERSION,
        plugins=tuple(plugins),
        max_retries=RETRY_BUDGET[FailureClass.LOST],
    )


def _carry_out(
    tasks: Sequence[RunTask],
    study: Study,
    address: str | None,
    max_concurrent: int | None,
    trainer_class: Callable[..., Any] | None,
) -> dict[str, str]:
    machine = Machine.here()
    with ray_session(
        address,
        with_train=study.execution == "train",
        num_cpus=machine.cores,
        num_gpus=machine.gpus,
    ):
        from rml_platform.launch.sweep import cluster_resources, sweep

        there = cluster_resources()
        resources = study.resources
        gpus = resources.gpus(there.get("GPU", 0))
        # Whether reserved GPUs are real can be seen on this machine only; a cluster that offers
        # some is believed.
        is_real = address is not None or torch.cuda.is_available()
        backend: Literal["gloo", "nccl"] = "nccl" if gpus and is_real else "gloo"
        sized = [
            replace(
                task,
                execution=study.execution,
                num_workers=resources.workers,
                cpus_per_worker=resources.cpus_per_worker,
                gpus_per_worker=gpus,
                backend=backend,
            )
            for task in tasks
        ]
        at_once = concurrency(sized[0], there)
        if at_once < 1:
            raise ConfigError(
                f"{study.source}: resources: one run asks for {resources.workers} × "
                f"({resources.cpus_per_worker:g} cores, {gpus:g} GPUs); the cluster has "
                f"{there.get('CPU', 0):g} cores and {there.get('GPU', 0):g} GPUs in all"
            )
        return sweep(
            sized,
            max_concurrent=min(max_concurrent or at_once, at_once),
            trainer_class=trainer_class,
        )


def concurrency(task: RunTask, resources: Mapping[str, float]) -> int:
    """How many runs of this size the cluster holds at once."""
    need = {
        "CPU": task.num_workers * task.cpus_per_worker,
        "GPU": task.num_workers * task.gpus_per_worker,
    }
    return min(int(resources.get(name, 0) // amount) for name, amount in need.items() if amount > 0)
