"""`rml run`: one configuration trained in this process, without Ray; the run folder and the tracking are the same."""

import time
import uuid
from pathlib import Path

from rich.console import Console

from rml_platform.direct import run_direct
from rml_platform.launch import OutputLayout, task_of, wait_for_the_dying
from rml_platform.plan import PlannedRun
from rml_platform.policies import Decision, RunFacts, decide
from rml_platform.progress import LiveView
from rml_platform.publishing import Publisher
from rml_platform.run_folder import RunFolder, RunRecord
from rml_platform.search_space import Study
from rml_platform.study_file import ResourcesConfig, TableConfig
from rml_platform.tracking import Tracker, default_tracking_uri
from rml_trainers.errors import ConfigError

EXPERIMENT = "single-runs"
"""MLflow experiment of runs that belong to no study (a study that has the same run adds itself to its tags)."""


def run_single(
    run: PlannedRun, *, layout: OutputLayout, data_root: Path | None, tracking_uri: str | None, console: Console
) -> RunRecord:
    """Train what is left of a run and return what became of it; a finished run is left alone.

    Ctrl-C is passed on once everything is safely stored. Raises ConfigError when another process is at the run,
    TrackingError when MLflow cannot be used (nothing was started then).
    """
    tracker = Tracker(tracking_uri or default_tracking_uri(layout.root), layout.artifacts)
    tracker.check()
    publisher = Publisher(tracker, lambda text: console.print(f"note: {text}", markup=False, highlight=False))
    folder = RunFolder.of(layout.storage, run.run_id)
    record = wait_for_the_dying(folder)
    decision = decide(RunFacts(finished=record.result is not None, alive=record.state == "running"))
    if decision is Decision.SKIP_RUNNING:
        assert record.heartbeat is not None
        where = f"process {record.heartbeat.worker.pid} of {record.heartbeat.worker.host}"
        raise ConfigError(f"run {run.run_id} is being trained already, by {where}; wait for it, or stop it first")
    try:
        if decision is not Decision.SKIP_DONE:
            folder.folder.delete("cancel")
            launch_id = time.strftime("%Y%m%d-%H%M%S-") + uuid.uuid4().hex[:4]
            with LiveView([folder], publisher, console):
                run_direct(task_of(run, _study_of(run), layout, data_root, launch_id))
    finally:
        publisher.sync([folder], insist=True)
    return folder.record()


def _study_of(run: PlannedRun) -> Study:
    """The frame that a run without a study is launched in."""
    return Study(
        name=EXPERIMENT,
        title=EXPERIMENT,
        description="",
        source=run.run_id,
        profile=None,
        execution="direct",
        resources=ResourcesConfig(),
        base=(),
        rows=(),
        columns=(),
        seeds=(run.config.seed,),
        split_seeds=None,
        table=TableConfig(),
    )
