"""Launching the runs of a plan: what is done is left alone, what was cut off goes on, the rest is
started.

Every launch is a fresh sweep over the runs that have no result yet. Launching twice does nothing
the second time; launching again after anything was killed finishes it.
"""

import functools
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console

from rml_platform.environment import code_version
from rml_platform.launch.claiming import LaunchClaims
from rml_platform.launch.direct import run_here
from rml_platform.launch.live_view import LiveView, poll_seconds
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
from rml_platform.run.faults.lease import lease
from rml_platform.run.run_folder import RunFolder
from rml_platform.run.shared_stages import mark_shared
from rml_platform.run.task import Process, RunTask, config_to_json, prepared_folder_text
from rml_platform.study.cells import Study
from rml_platform.tracking.opening import open_tracker
from rml_platform.tracking.publisher import Publisher
from rml_trainers import RESULT_VERSION
from rml_trainers.errors import ConfigError
from rml_trainers.settings.plugins import plugins_with_metrics
from rml_trainers.training.identity import plugins_of

CarryOut = Callable[[Sequence[RunTask]], Mapping[str, str]]
"""Carries runs out; returns what Ray says of those that it lost."""


def launch(
    plan: Plan,
    *,
    layout: OutputLayout,
    data_root: Path | None,
    tracking_uri: str | None = None,
    address: str | None = None,
    max_concurrent: int | None = None,
    with_ray: bool = True,
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
        with_ray: False: one run after the other in this process, on a machine without Ray.
    Raises:
        TrackingError: MLflow cannot be used; nothing was started.
        ConfigError: one run needs more than the cluster has, or Ray.
    """
    started = time.monotonic()
    report = LaunchReport()
    console = console or Console()
    try:
        with stopping_on_signals():
            tracker = open_tracker(tracking_uri, layout.root, layout.artifacts)
            tracker.check()
            publisher = Publisher(tracker, plan.study.name, note_on(console))
            carry_out = functools.partial(
                _carry_out if with_ray else _carry_out_here,
                study=plan.study,
                address=address,
                max_concurrent=max_concurrent,
                trainer_class=trainer_class,
                on_note=note_on(console),
            )
            _Launch(plan, layout, data_root, publisher, console, report).bring_to_end(carry_out)
    except KeyboardInterrupt as stop:
        report.stopped_with = exit_code_of(stop)
    report.seconds = time.monotonic() - started
    return report


class _Launch:
    """The runs of one plan, and what one launch does with them."""

    def __init__(
        self,
        plan: Plan,
        layout: OutputLayout,
        data_root: Path | None,
        publisher: Publisher,
        console: Console,
        report: LaunchReport,
    ) -> None:
        self.launch_id = new_launch_id()
        self.folders = {run.run_id: RunFolder.of(layout.storage, run.run_id) for run in plan.runs}
        self.tasks = {
            run.run_id: task_of(run, plan.study.name, layout, data_root, self.launch_id)
            for run in plan.runs
        }
        self._on_note = note_on(console)
        self.claims = LaunchClaims(layout.storage, self.folders, self.launch_id, self._on_note)
        self._lease = lease(layout.storage, self.launch_id)
        self._publisher = publisher
        self._console = console
        self._report = report
        self._poll_s = poll_seconds(self.folders.values())

    def bring_to_end(self, carry_out: CarryOut) -> None:
        """Carry out what is left of the plan, and follow what another launch is at; the report
        says what became of each run, also when this is interrupted."""
        pending = triage(self.folders, self._report, self._on_note)
        done = [self.folders[run_id] for run_id in self._report.done_before]
        note_old_metrics(done, self._on_note)
        self._publisher.sync(done)
        if pending:
            view = LiveView(
                [self.folders[run_id] for run_id in pending],
                self._publisher,
                self._console,
                self.launch_id,
                self.claims.give_back,
            )
            try:
                with self._lease, view:
                    while pending := self._one_round(pending, carry_out):
                        self._wait()
            finally:
                self._end()

    def _wait(self) -> None:
        time.sleep(self._poll_s)

    def _one_round(self, pending: Sequence[str], carry_out: CarryOut) -> list[str]:
        """Look what another launch brought to an end, and carry out what nobody is at; returns what
        another launch still is at."""
        left = [run_id for run_id in pending if not self._settled_elsewhere(run_id)]
        own = self._claimed(left)
        if own:
            self._carry_out(own, carry_out)
        settled = self._report.settled()
        return [run_id for run_id in left if run_id not in settled]

    def _claimed(self, pending: Sequence[str]) -> list[str]:
        """Claim the runs that nobody is at, except those that another launch has just finished."""
        own = self.claims.take(pending)
        done = [run_id for run_id in own if self.folders[run_id].record().result is not None]
        for run_id in done:
            self.claims.give_back(run_id)
        self._report.done_elsewhere += done
        return [run_id for run_id in own if run_id not in done]

    def _carry_out(self, own: Sequence[str], carry_out: CarryOut) -> None:
        for run_id in own:
            self.folders[run_id].folder.delete("cancel")
        neighbours = [task for run_id, task in self.tasks.items() if run_id not in own]
        try:
            lost = carry_out(mark_shared([self.tasks[run_id] for run_id in own], neighbours))
            kept = {i: text for i, text in lost.items() if self.claims.holds(i)}
            write_losses(kept, self.folders, self.launch_id)
        finally:
            for run_id in own:
                folder = self.folders[run_id]
                # A run that another launch took over in the meantime is followed from here on.
                if self.claims.holds(run_id) or folder.record().result is not None:
                    close(folder, self.launch_id, self._report)
            self._publisher.sync([self.folders[run_id] for run_id in own], closing=True)
            for run_id in own:
                self.claims.give_back(run_id)

    def _settled_elsewhere(self, run_id: str) -> bool:
        """Whether another launch brought the run to an end; it is in the report then."""
        end = self.claims.end_elsewhere(run_id)
        failure = self.folders[run_id].record().failure if end == "failed" else None
        if failure is not None:
            self._report.failed[run_id] = failure
        elif end == "done":
            self._report.done_elsewhere.append(run_id)
        elif end is not None:
            self._report.left.append(run_id)
        return end is not None

    def _end(self) -> None:
        """Report what another launch still is at, and bring the tracker up to date with the
        rest."""
        settled = self._report.settled()
        self._report.running_elsewhere = [i for i in self.folders if i not in settled]
        self._report.untracked = self._publisher.sync(
            [self.folders[run_id] for run_id in self.folders if run_id in settled], closing=True
        )


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
        prepared_folder=prepared_folder_text(run.prepared_folder, layout.storage),
        class_names=run.class_names,
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
    )


def _carry_out(
    tasks: Sequence[RunTask],
    study: Study,
    address: str | None,
    max_concurrent: int | None,
    trainer_class: Callable[..., Any] | None,
    on_note: Callable[[str], None],
) -> dict[str, str]:
    machine = Machine.here()
    execution = execution_of(study, is_local=address is None)
    if study.execution == "auto":
        where = "this machine" if address is None else f"the cluster at {address}"
        on_note(f"execution: {execution} (workers of a run: {study.resources.workers}, on {where})")
    with ray_session(
        address,
        with_train=execution == "train",
        num_cpus=machine.cores,
        num_gpus=machine.gpus,
    ):
        from rml_platform.launch.on_ray.sweep import cluster_resources, sweep

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
                execution=execution,
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
            rules=study.retry,
            on_note=on_note,
            trainer_class=trainer_class,
        )


def _carry_out_here(
    tasks: Sequence[RunTask],
    study: Study,
    address: str | None,
    max_concurrent: int | None,
    trainer_class: Callable[..., Any] | None,
    on_note: Callable[[str], None],
) -> Mapping[str, str]:
    asked = {
        "resources.workers": study.resources.workers != 1,
        "execution: train": study.execution == "train",
        "--address": address is not None,
        "--max-concurrent": max_concurrent not in (None, 1),
    }
    if any(asked.values()):
        what = ", ".join(name for name, is_asked in asked.items() if is_asked)
        raise ConfigError(
            f"{study.source}: --without-ray trains one run after the other in one process, which "
            f"does not go with {what}"
        )
    return run_here(tasks, study.retry, on_note, trainer_class)


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
