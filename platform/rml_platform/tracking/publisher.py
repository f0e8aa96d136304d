"""Brings what run folders hold into the tracker: the folder is the truth, MLflow the record for
comparison.

One process does it, the launcher (or `rml run` itself), so that workers need neither MLflow nor a
way to its server. Nothing is sent before the checkpoint that covers it is stored, so a killed and
resumed run has no value twice. What cannot be sent stays where it is, in the run's folder, and goes
out at the next opportunity or launch.
"""

import json
import math
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rml_platform.run.checkpoints import CheckpointStore
from rml_platform.run.codec import Codec, DamagedFileError
from rml_platform.run.metric_log import Measurement, evaluation_metrics, pieces
from rml_platform.run.run_folder import RunFolder, RunRecord
from rml_platform.run.task import RunTask
from rml_platform.tracking.mlflow_tracker import Tracker, TrackingError
from rml_platform.tracking.tags import flatten, run_tags

RETRY_AFTER_S = 15.0
FINAL_STATUS = {"done": "FINISHED", "failed": "FAILED", "cancelled": "KILLED", "cut_off": "KILLED"}


@dataclass(frozen=True, kw_only=True)
class PublishedState:
    """Content of published.json: what the tracker has of one run."""

    tracker: str
    """Key of the tracker."""
    mlflow_run: str
    step: int
    """Step of the newest piece of metrics that was sent."""
    status: str


PUBLISHED = Codec[PublishedState](PublishedState)


@dataclass
class _Published:
    """What this process knows of one run in the tracker."""

    tracker: str
    """Key of the tracker."""
    mlflow_run: str
    step: int = -1
    """Step of the newest piece of metrics that was sent."""
    status: str = ""
    last_steps: dict[str, int] = field(default_factory=dict)
    """Largest step sent, by metric; looked up in the tracker for a run that was there before this
    process."""
    is_new: bool = False
    state_seen: tuple[Any, ...] = ()
    stored: PublishedState | None = None
    """Content of published.json."""


class Publisher:
    """Sends run folders to one tracker; never raises when the tracker is away."""

    def __init__(self, tracker: Tracker, study: str, on_note: Callable[[str], None]) -> None:
        """Every run that is synchronised becomes one of `study`'s, whichever study trained it."""
        self._tracker = tracker
        self._study = study
        self._on_note = on_note
        self._runs: dict[str, _Published] = {}
        self._not_before = 0.0
        self._is_away = False
        self._damaged_seen = set[str]()

    def sync(self, runs: Iterable[RunFolder], *, closing: bool = False) -> list[str]:
        """Send what is new; returns the ids of the runs that could not be brought up to date.

        After a failure the tracker is left alone for a while. `closing`: the launch is over, so it
        is asked once more whatever happened before, and a run that nobody is at any more is not
        about to be restarted.
        """
        behind = []
        if closing:
            self._not_before = 0.0
        for run in runs:
            if self._is_away and time.monotonic() < self._not_before:
                behind.append(run.run_id)
                continue
            try:
                self._sync_run(run, closing)
                self._note_back()
            except TrackingError as error:
                behind.append(run.run_id)
                self._note_away(error)
            except DamagedFileError as error:
                behind.append(run.run_id)
                self._note_damaged(error)
        return behind

    def _note_away(self, error: TrackingError) -> None:
        self._not_before = time.monotonic() + RETRY_AFTER_S
        if not self._is_away:
            self._on_note(
                f"{error}. Training goes on; everything is kept in the run folders and sent later"
            )
        self._is_away = True

    def _note_damaged(self, error: DamagedFileError) -> None:
        if str(error) not in self._damaged_seen:
            self._on_note(f"{error}; this run is not in the tracker before it is started again")
        self._damaged_seen.add(str(error))

    def _note_back(self) -> None:
        if self._is_away:
            self._on_note(f"MLflow at {self._tracker.shown_uri} is back")
        self._is_away = False

    def _sync_run(self, run: RunFolder, closing: bool) -> None:
        task = run.task()
        record = run.record()
        if task is None or record.heartbeat is None:
            return
        seen = (record.state, record.heartbeat.checkpoint_step, record.heartbeat.attempt, closing)
        known = self._runs.get(run.run_id)
        if known is not None and known.state_seen == seen:
            return
        published = known or self._open(run, task)
        last = math.inf if record.state == "done" else record.heartbeat.checkpoint_step
        for step, rows in pieces(run.folder, published.step, last, self._on_note):
            self._send(published, rows)
            published.step = step
        is_restarting = record.state == "cut_off" and not closing
        status = "RUNNING" if is_restarting else FINAL_STATUS.get(record.state, "RUNNING")
        if status != published.status:
            self._finish(run, task, record, published, status)
        published.state_seen = seen
        self._remember(run, published)

    def _open(self, run: RunFolder, task: RunTask) -> _Published:
        """The run in the tracker: as remembered, as found there, or made now."""
        stored = self._stored(run)
        tags = None
        if stored is not None and stored.tracker == self._tracker.key:
            published = _Published(
                stored.tracker, stored.mlflow_run, stored.step, stored.status, stored=stored
            )
            tags = self._tracker.tags(published.mlflow_run)
        if tags is None:
            found = self._tracker.find(run.run_id)
            published = _Published(
                self._tracker.key, found or self._create(run, task), is_new=found is None
            )
            tags = self._tracker.tags(published.mlflow_run) or {}
        known = tags.get("rml.studies", "")
        studies = ",".join(sorted({task.study, self._study, *filter(None, known.split(","))}))
        if studies != known:
            self._tracker.set_tags(published.mlflow_run, {"rml.studies": studies})
        self._runs[run.run_id] = published
        self._remember(run, published)
        return published

    def _stored(self, run: RunFolder) -> PublishedState | None:
        """What published.json says; where it is damaged the tracker itself is asked."""
        content = run.folder.read("published.json")
        try:
            if content is None:
                return None
            return PUBLISHED.decode(content, f"{run.folder.path}/published.json")
        except DamagedFileError as error:
            self._on_note(f"{error}; the tracker is asked what it has of the run")
            return None

    def _create(self, run: RunFolder, task: RunTask) -> str:
        mlflow_run = self._tracker.create(
            task.study, run.run_id, flatten(json.loads(task.config_json))
        )
        self._upload(run, mlflow_run, ["config.yaml"])
        return mlflow_run

    def _send(self, published: _Published, rows: list[Measurement]) -> None:
        fresh = []
        for row in rows:
            if row.key not in published.last_steps:
                known = (
                    -1
                    if published.is_new
                    else self._tracker.last_step(published.mlflow_run, row.key)
                )
                published.last_steps[row.key] = known
            if row.step > published.last_steps[row.key]:
                fresh.append(row)
        self._tracker.log(published.mlflow_run, fresh)
        for row in fresh:
            published.last_steps[row.key] = max(row.step, published.last_steps[row.key])

    def _finish(
        self, run: RunFolder, task: RunTask, record: RunRecord, published: _Published, status: str
    ) -> None:
        """Status, and what belongs to it: tags at the start, final scores and artifacts at the
        end."""
        tags = run_tags(task, record.heartbeat)
        if record.result is not None:
            final = evaluation_metrics(record.result.evaluations, "final") | {
                "final/seconds": record.result.seconds
            }
            now = int(record.result.time * 1000)
            step = record.result.steps
            self._send(
                published,
                [Measurement(k, step, now, v) for k, v in final.items() if math.isfinite(v)],
            )
            tags["rml.protocol"] = record.result.evaluations[0].protocol
            with tempfile.TemporaryDirectory(prefix="rml-") as scratch:
                found = CheckpointStore(run.folder, "").newest_sound(Path(scratch), self._on_note)
                if found is not None:
                    self._tracker.upload(published.mlflow_run, found.folder, "checkpoint")
            self._upload(run, published.mlflow_run, ["result.json", "log.txt", "predictions"])
        if record.failure is not None:
            tags["rml.failure"] = f"{record.failure.kind}: {record.failure.message}"
        elif published.status == "FAILED":
            tags["rml.failure"] = ""  # overcome
        self._tracker.set_tags(published.mlflow_run, tags)
        self._tracker.set_status(published.mlflow_run, status)
        published.status = status

    def _upload(self, run: RunFolder, mlflow_run: str, names: list[str]) -> None:
        with tempfile.TemporaryDirectory(prefix="rml-") as scratch:
            for name in names:
                if run.folder.child(name).exists():
                    self._tracker.upload(
                        mlflow_run, run.folder.child(name).download(Path(scratch) / name), name
                    )
                elif (content := run.folder.read(name)) is not None:
                    (Path(scratch) / name).write_bytes(content)
                    self._tracker.upload(mlflow_run, Path(scratch) / name, None)

    def _remember(self, run: RunFolder, published: _Published) -> None:
        now = PublishedState(
            tracker=published.tracker,
            mlflow_run=published.mlflow_run,
            step=published.step,
            status=published.status,
        )
        if now != published.stored:
            run.folder.write("published.json", PUBLISHED.encode(now))
            published.stored = now
