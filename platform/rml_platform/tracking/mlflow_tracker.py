"""One MLflow run per run id, filled from the run's folder.

What was sent is remembered in the folder itself (published.json); where that is wrong or gone,
MLflow is asked, so that a value is told once whatever died in between.
"""

import contextlib
import dataclasses
import json
import math
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from rml_dashboards.contract.metric_keys import final_metrics
from rml_dashboards.contract.states import STATUS_OF_STATE, Status
from rml_dashboards.contract.tags import (
    Tag,
    failure_text,
    heartbeat_tags,
    studies_text,
    task_tags,
)
from rml_platform.run.checkpoints import CheckpointStore
from rml_platform.run.codec import Codec, DamagedFileError
from rml_platform.run.metric_log import Measurement, pieces
from rml_platform.run.run_folder import Result, RunFolder, RunRecord
from rml_platform.run.task import RunTask
from rml_platform.tracking.mlflow_store import MlflowStore
from rml_platform.tracking.tracker import OnNote


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
    studies: str = ""
    """The tag of all its studies."""
    state_seen: tuple[Any, ...] = ()
    stored: PublishedState | None = None
    """Content of published.json."""


class MlflowTracker:
    """Sends run folders to one MLflow store."""

    def __init__(self, store: MlflowStore) -> None:
        self._store = store
        self._runs: dict[str, _Published] = {}

    @property
    def name(self) -> str:
        """MLflow and where it is."""
        return f"MLflow at {self._store.shown_uri}"

    def check(self) -> None:
        """Answer within seconds whether the store can be used; makes the schema of a new one."""
        self._store.check()

    def publish(self, run: RunFolder, study: str, *, closing: bool, on_note: OnNote) -> None:
        """Send what the run's MLflow run lacks, and its status.

        On a local storage one process at a time does so for a run; elsewhere the claim on a run
        says whose it is to send (`run/faults/claims.py`).
        """
        with _alone_at(run):
            self._publish(run, study, closing, on_note)

    def _publish(self, run: RunFolder, study: str, closing: bool, on_note: OnNote) -> None:
        task = run.task()
        record = run.record()
        if task is None or record.heartbeat is None:
            return
        beat = record.heartbeat
        seen = (study, record.state, beat.checkpoint_step, beat.attempt, closing)
        known = self._runs.get(run.run_id)
        if known is not None and known.state_seen == seen:
            return
        if known is None or known.stored != self._stored(run, on_note):  # sent by another process
            known = self._open(run, task, on_note)
        published = known
        self._join_study(published, task.study, study)
        last = math.inf if record.state == "done" else beat.checkpoint_step
        for step, rows in pieces(run.folder, published.step, last, on_note):
            self._send(published, rows)
            published.step = step
        is_restarting = record.state == "cut_off" and not closing
        status = STATUS_OF_STATE["running" if is_restarting else record.state]
        if status != published.status:
            self._finish(run, task, record, published, status, on_note)
        published.state_seen = seen
        self._remember(run, published)

    def _open(self, run: RunFolder, task: RunTask, on_note: OnNote) -> _Published:
        """The run in the tracker: as remembered, as found there, or made now."""
        stored = self._stored(run, on_note)
        tags = None
        if stored is not None and stored.tracker == self._store.key:
            published = _Published(
                stored.tracker, stored.mlflow_run, stored.step, stored.status, stored=stored
            )
            tags = self._store.tags(published.mlflow_run)
        if tags is None:
            found = self._store.find(run.run_id)
            published = _Published(
                self._store.key, found or self._create(run, task), is_new=found is None
            )
            tags = self._store.tags(published.mlflow_run) or {}
        published.studies = tags.get(Tag.STUDIES, "")
        self._runs[run.run_id] = published
        self._remember(run, published)
        return published

    def _join_study(self, published: _Published, *studies: str) -> None:
        joined = studies_text(published.studies, *studies)
        if joined != published.studies:
            self._store.set_tags(published.mlflow_run, {Tag.STUDIES: joined})
            published.studies = joined

    def _stored(self, run: RunFolder, on_note: OnNote) -> PublishedState | None:
        """What published.json says; where it is damaged the tracker itself is asked."""
        content = run.folder.read("published.json")
        try:
            if content is None:
                return None
            return PUBLISHED.decode(content, f"{run.folder.path}/published.json")
        except DamagedFileError as error:
            on_note(f"{error}; the tracker is asked what it has of the run")
            return None

    def _create(self, run: RunFolder, task: RunTask) -> str:
        mlflow_run = self._store.create(
            task.study, run.run_id, flatten(json.loads(task.config_json))
        )
        self._upload(run, mlflow_run, ["config.yaml"])
        return mlflow_run

    def _send(self, published: _Published, rows: list[Measurement]) -> None:
        fresh = []
        for row in rows:
            if row.key not in published.last_steps:
                known = (
                    -1 if published.is_new else self._store.last_step(published.mlflow_run, row.key)
                )
                published.last_steps[row.key] = known
            if row.step > published.last_steps[row.key]:
                fresh.append(row)
        self._store.log(published.mlflow_run, fresh)
        for row in fresh:
            published.last_steps[row.key] = max(row.step, published.last_steps[row.key])

    def _finish(
        self,
        run: RunFolder,
        task: RunTask,
        record: RunRecord,
        published: _Published,
        status: Status,
        on_note: OnNote,
    ) -> None:
        """Status, and what belongs to it: tags at the start, final scores and artifacts at the
        end."""
        tags = task_tags(dataclasses.asdict(task))
        if record.heartbeat is not None:
            tags |= heartbeat_tags(dataclasses.asdict(record.heartbeat))
        if record.result is not None:
            tags[Tag.PROTOCOL] = record.result.evaluations[0].protocol
            self._send(published, _final_measurements(record.result))
            self._upload_checkpoint(run, published.mlflow_run, on_note)
            self._upload(run, published.mlflow_run, ["result.json", "log.txt", "predictions"])
        if record.failure is not None:
            tags[Tag.FAILURE] = failure_text(record.failure.kind, record.failure.message)
        elif published.status == "FAILED":
            tags[Tag.FAILURE] = ""  # overcome
        self._store.set_tags(published.mlflow_run, tags)
        self._store.set_status(published.mlflow_run, status)
        if status != "RUNNING":
            self._store.close_strays(run.run_id, published.mlflow_run)
        published.status = status

    def _upload_checkpoint(self, run: RunFolder, mlflow_run: str, on_note: OnNote) -> None:
        with tempfile.TemporaryDirectory(prefix="rml-") as scratch:
            found = CheckpointStore(run.folder, "").newest_sound(Path(scratch), on_note)
            if found is not None:
                self._store.upload(mlflow_run, found.folder, "checkpoint")

    def _upload(self, run: RunFolder, mlflow_run: str, names: list[str]) -> None:
        with tempfile.TemporaryDirectory(prefix="rml-") as scratch:
            for name in names:
                if run.folder.child(name).exists():
                    self._store.upload(
                        mlflow_run, run.folder.child(name).download(Path(scratch) / name), name
                    )
                elif (content := run.folder.read(name)) is not None:
                    (Path(scratch) / name).write_bytes(content)
                    self._store.upload(mlflow_run, Path(scratch) / name, None)

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


@contextlib.contextmanager
def _alone_at(run: RunFolder) -> Iterator[None]:
    if run.folder.local is None or not run.folder.exists():
        yield
        return
    with FileLock(run.folder.local / ".publishing.lock"):
        yield


def _final_measurements(result: Result) -> list[Measurement]:
    now = int(result.time * 1000)
    values = final_metrics(result.evaluations, result.seconds)
    return [Measurement(key, result.steps, now, value) for key, value in values.items()]


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested configuration as flat `a.b.c` parameters."""
    flat: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = json.dumps(value) if isinstance(value, list) else str(value)
    return flat
