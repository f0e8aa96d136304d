"""One run in this process, without Ray: `rml run`."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from rml_platform.launch.claiming import LaunchClaims, new_launch_id
from rml_platform.launch.direct import given_here, gpu_for, run_here
from rml_platform.launch.live_view import LiveView, note_on
from rml_platform.launch.outcomes import told_as_one_sentence
from rml_platform.launch.output_layout import OutputLayout
from rml_platform.launch.sizing import task_of
from rml_platform.launch.stop_signals import stopping_on_signals
from rml_platform.planning.feasible import check_pretrained
from rml_platform.planning.machine import Machine
from rml_platform.planning.plan import PlannedRun
from rml_platform.run.faults.lease import DEAD_AFTER_S, lease
from rml_platform.run.run_folder import RunFolder, RunRecord
from rml_platform.study.retry_config import RetryConfig
from rml_platform.tracking.opening import open_tracker
from rml_platform.tracking.publisher import Publisher, sync_at_the_end
from rml_trainers.errors import ConfigError

EXPERIMENT = "single-runs"
"""MLflow experiment of runs that belong to no study (a study that has the same run adds itself to
its tags)."""
LOOK_EVERY_S = 1.0
"""Between two looks at a holder of the run of which nothing is known."""


def run_alone(
    run: PlannedRun,
    *,
    layout: OutputLayout,
    data_root: Path | None,
    tracking_uri: str | None,
    console: Console,
    micro_batches: int = 1,
) -> RunRecord:
    """Train one run to its end, from its newest checkpoint if there is one; a finished run is left
    alone.

    Args:
        micro_batches: multiplies `batch.accumulate` from the first attempt on.

    Raises:
        TrackingError: MLflow cannot be used; nothing was started.
        ConfigError: another process is at this run.
        HubAwayError: the weights that its networks begin with cannot be had; nothing was started.
        StorageError: the storage lets nothing be written, such as one that is full.
        KeyboardInterrupt: Ctrl-C, SIGTERM or SIGHUP (StoppedBySignal); the same call goes on later.
    """
    tracker = open_tracker(tracking_uri, layout.root, layout.artifacts)
    tracker.check()
    on_note = note_on(console)
    publisher = Publisher(tracker, EXPERIMENT, on_note)
    folder = RunFolder.of(layout.storage, run.run_id)
    record = folder.record()
    for text in record.damaged:
        on_note(f"{text}; it counts as absent")
    if record.result is None:
        check_pretrained([run.config])
        launch_id = new_launch_id()
        planned = task_of(run, EXPERIMENT, layout, data_root, launch_id)
        task = replace(planned, micro_batches=micro_batches)
        with (
            told_as_one_sentence(layout.storage),
            stopping_on_signals(),
            _claimed(folder, layout.storage, launch_id, on_note),
        ):
            folder.folder.delete("cancel")
            try:
                gpus = float(min(1, Machine.here().gpus))
                tasks = [given_here(task, gpus)]
                with (
                    gpu_for(tasks, lambda: True, on_note) as index,
                    LiveView([folder], publisher, console, launch_id),
                ):
                    run_here(tasks, RetryConfig(), on_note, local_index=index or 0)
            finally:
                sync_at_the_end(publisher, [folder], on_note)
    else:
        publisher.sync([folder], closing=True)
    return folder.record()


@contextlib.contextmanager
def _claimed(
    folder: RunFolder, storage: str, launch_id: str, on_note: Callable[[str], None]
) -> Iterator[None]:
    """The run is this launch's while the context is open.

    A holder of which nothing is known here (another machine's, or this one's before it was started
    anew) is watched until it shows a sign of life or has been still for long enough.

    Raises:
        ConfigError: another process is at the run.
    """
    run_id = folder.run_id
    claims = LaunchClaims(storage, {run_id: folder}, launch_id, lambda _: None)
    told = set[str]()
    with lease(storage, launch_id):
        while not claims.take([run_id]):
            holder = claims.holder(run_id)
            if holder is None:
                continue
            if holder.is_at_work:
                raise ConfigError(
                    f"run {run_id} is running already, in {holder.who}: wait for it, or stop it"
                )
            if holder.who not in told:
                told.add(holder.who)
                on_note(
                    f"{run_id} is held by {holder.who}: it is taken over here unless that gives a "
                    f"sign of life within {DEAD_AFTER_S:.0f} s"
                )
            time.sleep(LOOK_EVERY_S)
        try:
            yield
        finally:
            claims.give_back(run_id)
