"""One MLflow run per run id, filled from the run's folder.

What was sent is remembered in the folder itself (published.json); where that is wrong or gone,
MLflow is asked, so that a value is told once whatever died in between.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rml_dashboards.contract.run_folder import RESULT_FILE
from rml_dashboards.contract.states import STATUS_OF_STATE, Status
from rml_dashboards.contract.tags import Tag, studies_text
from rml_platform.run.checkpoints import CheckpointStore
from rml_platform.run.codec import Codec, DamagedFileError
from rml_platform.run.files.locked import locked
from rml_platform.run.files.temporary import temporary_folder
from rml_platform.run.metric_log import Measurement
from rml_platform.run.run_folder import RunFolder
from rml_platform.tracking.file_tracker import note_study, noted_studies
from rml_platform.tracking.mlflow_store import MlflowStore, StoredRun
from rml_platform.tracking.run_facts import RunFacts
from rml_platform.tracking.shown.pages import RunPage
from rml_platform.tracking.tracker import NO_LABELS, OnNote, Sent, TrackingError


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


@dataclass(kw_only=True)
class _Published:
    """What this process knows of one run in the tracker."""

    mlflow_run: str
    there: StoredRun
    """What MLflow had of it when this process opened it."""
    step: int = -1
    """Step of the newest piece of metrics that was sent."""
    status: str = ""
    """Status that was set, with all that belongs to it; empty where that is not known."""
    has_failed: bool = False
    """Whether MLflow tells of a failure."""
    sent_steps: dict[str, int] = field(default_factory=dict)
    """Largest step that this process sent, by metric."""
    studies: str = ""
    """The tag of all its studies."""
    labels: dict[str, str] = field(default_factory=dict)
    """All its tags when it was opened, and those of studies since."""
    state_seen: tuple[Any, ...] = ()
    stored: PublishedState | None = None
    """Content of published.json."""

    @classmethod
    def of(cls, mlflow_run: str, there: StoredRun) -> "_Published":
        """An MLflow run as it was found."""
        return cls(
            mlflow_run=mlflow_run,
            there=there,
            has_failed=bool(there.tags.get(Tag.FAILURE)),
            studies=there.tags.get(Tag.STUDIES, ""),
            labels=dict(there.tags),
        )

    def last_step(self, key: str) -> int:
        """Largest step that MLflow has of a metric."""
        return max(self.sent_steps.get(key, -1), self.there.last_step(key))


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

    def publish(
        self,
        run: RunFolder,
        study: str,
        *,
        closing: bool,
        on_note: OnNote,
        labels: Mapping[str, str] = NO_LABELS,
    ) -> None:
        """Send what the run's MLflow run lacks, and its status.

        On a local storage one process at a time does so for a run; elsewhere the claim on a run
        says whose it is to send (`run/faults/claims.py`).
        """
        with self._alone_at(run):
            facts = RunFacts.read(run)
            if facts is not None:
                self._publish(facts, study, labels, closing, on_note)

    def replay(
        self,
        run: RunFolder,
        study: str | None,
        *,
        every_value: bool,
        on_note: OnNote,
        labels: Mapping[str, str] = NO_LABELS,
    ) -> Sent:
        """Compare the run's MLflow run with its folder, whatever was remembered as sent, and send
        what lacks; returns what that was.

        Args:
            study: becomes one of the run's; None: it has those that its folder tells of.
            every_value: compare every value and send every file again; else a metric counts as
                complete up to its largest step, and a run that has its status, tags and result has
                its files.
            labels: tags that only the study knows.
        Raises:
            TrackingError: as `publish`.
            DamagedFileError: as `publish`.
        """
        sent = Sent()
        with self._alone_at(run):
            facts = RunFacts.read(run)
            if facts is not None:
                published = self._found_or_made(facts, sent)
                self._runs[run.run_id] = published
                self._join_study(facts, published, study or facts.task.study, labels)
                self._replay(facts, published, every_value, on_note, sent)
        return sent

    def _replay(
        self, facts: RunFacts, published: _Published, every_value: bool, on_note: OnNote, sent: Sent
    ) -> None:
        status = STATUS_OF_STATE[facts.record.state]
        found = facts.pieces(-1, on_note)
        values = [row for _, rows in found for row in rows] + facts.final_values()
        if every_value:
            values = self._lacking(published, values)
        self._send(published, values, sent, only_later=not every_value)
        published.step = max((step for step, _ in found), default=-1)
        if every_value or not self._is_complete(facts, published):
            self._finish(facts, published, status, on_note)
            sent.status = status
        published.status = status
        self._remember(facts.run, published)

    @contextlib.contextmanager
    def _alone_at(self, run: RunFolder) -> Iterator[None]:
        """No other process of this machine publishes the run meanwhile. Where something goes wrong
        MLflow is asked next time: it may have done what it did not confirm."""
        try:
            with _locked(run):
                yield
        except BaseException:
            self._runs.pop(run.run_id, None)
            raise

    def _publish(
        self,
        facts: RunFacts,
        study: str,
        labels: Mapping[str, str],
        closing: bool,
        on_note: OnNote,
    ) -> None:
        run = facts.run
        state = facts.record.state
        beat = facts.heartbeat
        seen = (study, state, beat.checkpoint_step, beat.attempt, closing)
        known = self._runs.get(run.run_id)
        if known is not None and known.state_seen == seen:
            return
        if known is None or known.stored != self._stored(run, on_note):  # sent by another process
            known = self._open(facts, on_note)
        published = known
        self._join_study(facts, published, study, labels)
        for step, rows in facts.pieces(published.step, on_note):
            self._send(published, rows, Sent())
            published.step = step
        is_restarting = state == "cut_off" and not closing
        status = STATUS_OF_STATE["running" if is_restarting else state]
        if status != published.status:
            self._send(published, facts.final_values(), Sent())
            self._finish(facts, published, status, on_note)
        published.state_seen = seen
        self._remember(run, published)

    def _open(self, facts: RunFacts, on_note: OnNote) -> _Published:
        """The run in the tracker: as remembered, as found there, or made now."""
        stored = self._stored(facts.run, on_note)
        there = None
        if stored is not None and stored.tracker == self._store.key:
            there = self._store.look(stored.mlflow_run)
        if stored is None or there is None:
            published = self._found_or_made(facts, Sent())
        else:
            published = _Published.of(stored.mlflow_run, there)
            published.step = stored.step
            published.status = stored.status
            published.stored = stored
        self._runs[facts.run.run_id] = published
        self._remember(facts.run, published)
        return published

    def _found_or_made(self, facts: RunFacts, sent: Sent) -> _Published:
        """The run as it is in MLflow, made where it is not there; with its configuration and its
        parameters, which whoever made it may have died before writing."""
        run = facts.run
        found = self._store.find(run.run_id)
        sent.is_new = found is None
        there = self._store.look(found) if found else None
        there = there or StoredRun()
        mlflow_run = found or self._store.create(facts.task.study, run.run_id)
        parameters = facts.parameters()
        if self._store.lacks(there, parameters):
            # First what the parameters stand for: where they are, all of it is.
            self._upload(run, mlflow_run, ["config.yaml"])
            page = RunPage(experiment=self._store.experiment(facts.task.study), run=mlflow_run)
            self._store.set_tags(mlflow_run, facts.description(page))
            self._store.add_data(mlflow_run, facts.data_sets())
            self._store.add_parameters(mlflow_run, parameters, there)
        return _Published.of(mlflow_run, there)

    def _is_complete(self, facts: RunFacts, published: _Published) -> bool:
        """Whether MLflow has the status of a run, its tags, and the file that is stored last."""
        there = published.there
        return (
            there.status == STATUS_OF_STATE[facts.record.state]
            and facts.tags(has_failed=published.has_failed).items() <= there.tags.items()
            and (
                facts.record.result is None
                or self._store.has_file(published.mlflow_run, RESULT_FILE)
            )
        )

    def _join_study(
        self, facts: RunFacts, published: _Published, study: str, labels: Mapping[str, str]
    ) -> None:
        """Add a study to the run's, also in its folder, so that it is not lost with the store, and
        what the study alone knows of the run."""
        trained_by = facts.task.study
        note_study(facts.run, trained_by, study)
        noted = [] if published.state_seen else noted_studies(facts.run)
        joined = studies_text(published.studies, trained_by, study, *noted)
        tags = {key: text for key, text in labels.items() if published.labels.get(key) != text}
        if joined != published.studies:
            tags[Tag.STUDIES] = joined
        if tags:
            self._store.set_tags(published.mlflow_run, tags)
        published.studies = joined
        published.labels |= labels

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

    def _lacking(self, published: _Published, rows: Sequence[Measurement]) -> list[Measurement]:
        """The values that MLflow lacks, wherever in the history."""
        known = {
            key: self._store.steps(published.mlflow_run, key)
            for key in {row.key for row in rows}
            if published.there.last_step(key) >= 0
        }
        return [row for row in rows if row.step not in known.get(row.key, ())]

    def _send(
        self,
        published: _Published,
        rows: Sequence[Measurement],
        sent: Sent,
        *,
        only_later: bool = True,
    ) -> None:
        """Send values; `only_later`: those beyond the last step that MLflow has of their metric."""
        fresh = [row for row in rows if not only_later or row.step > published.last_step(row.key)]
        self._store.log(published.mlflow_run, fresh)
        for row in fresh:
            published.sent_steps[row.key] = max(row.step, published.sent_steps.get(row.key, -1))
        sent.num_values += len(fresh)

    def _finish(
        self, facts: RunFacts, published: _Published, status: Status, on_note: OnNote
    ) -> None:
        """Status, and what belongs to it: tags at the start, artifacts at the end."""
        run = facts.run
        if facts.record.result is not None:
            self._upload_checkpoint(run, published.mlflow_run, on_note)
            self._upload(run, published.mlflow_run, ["log.txt", "predictions", RESULT_FILE])
        tags = facts.tags(has_failed=published.has_failed)
        self._store.set_tags(published.mlflow_run, tags)
        self._store.set_status(published.mlflow_run, status)
        if status != "RUNNING":
            self._store.close_strays(run.run_id, published.mlflow_run)
        published.has_failed = facts.record.failure is not None
        published.status = status

    def _upload_checkpoint(self, run: RunFolder, mlflow_run: str, on_note: OnNote) -> None:
        with temporary_folder("rml-upload-") as scratch:
            found = CheckpointStore(run.folder, "").newest_sound(scratch, on_note)
            if found is not None:
                self._store.upload(mlflow_run, found.folder, "checkpoint")

    def _upload(self, run: RunFolder, mlflow_run: str, names: list[str]) -> None:
        with temporary_folder("rml-upload-") as scratch:
            for name in names:
                if run.folder.child(name).exists():
                    self._store.upload(
                        mlflow_run, run.folder.child(name).download(scratch / name), name
                    )
                elif (content := run.folder.read(name)) is not None:
                    (scratch / name).write_bytes(content)
                    self._store.upload(mlflow_run, scratch / name, None)

    def _remember(self, run: RunFolder, published: _Published) -> None:
        now = PublishedState(
            tracker=self._store.key,
            mlflow_run=published.mlflow_run,
            step=published.step,
            status=published.status,
        )
        if now != published.stored:
            run.folder.write("published.json", PUBLISHED.encode(now))
            published.stored = now


@contextlib.contextmanager
def _locked(run: RunFolder) -> Iterator[None]:
    if run.folder.local is None or not run.folder.exists():
        yield
        return
    with locked(run.folder.local / ".publishing.lock", TrackingError):
        yield
