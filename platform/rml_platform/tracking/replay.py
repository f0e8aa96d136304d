"""Fill a tracking store from run folders: what it lost, or never had."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from rml_dashboards.contract.run_folder import RUNS
from rml_platform.run.codec import DamagedFileError
from rml_platform.run.run_folder import RunFolder
from rml_platform.run.storage import Folder
from rml_platform.tracking.mlflow_tracker import MlflowTracker
from rml_platform.tracking.tracker import NO_LABELS, OnNote, Sent, TrackingError

GIVE_UP_AFTER = 3
"""Runs in a row that could not be sent: the store is away."""


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """What became of one run."""

    run_id: str
    sent: Sent = field(default_factory=Sent)
    not_begun: bool = False
    left_alone: str = ""
    """Why nothing was compared, though nothing is wrong."""
    problem: str = ""
    """Why it could not be sent; empty where it was."""

    @property
    def text(self) -> str:
        """What was done, in words; empty where there was nothing to do."""
        if self.problem or self.left_alone:
            return self.problem or self.left_alone
        parts = ["new"] if self.sent.is_new else []
        if self.sent.num_values:
            parts.append(f"{self.sent.num_values} values")
        if self.sent.status:
            parts.append(f"status {self.sent.status}, tags and files")
        return ", ".join(parts)


def run_ids_under(storage: str) -> list[str]:
    """Every run that has a folder under a storage, sorted."""
    return Folder.open(storage).child(RUNS).folders()


def replay(
    storage: str,
    runs: Iterable[tuple[str, str | None]],
    tracker: MlflowTracker,
    *,
    every_value: bool,
    on_note: OnNote,
    labels: Mapping[str, Mapping[str, str]] | None = None,
) -> Iterator[Replayed]:
    """Bring the records of runs up to date with their folders, one after the other.

    A run that is being trained on another machine is left to its launch, because only one may send
    it at a time.

    Args:
        runs: ids, each with the study that has it; None: those that its folder tells of.
        every_value: see `MlflowTracker.replay`.
        labels: by run id, tags that only its study knows.
    Raises:
        TrackingError: the store is away; runs that were yielded before are up to date.
    """
    failed_in_a_row = 0
    for run_id, study in runs:
        run = RunFolder.of(storage, run_id)
        try:
            done = _replayed(
                run,
                study,
                tracker,
                every_value=every_value,
                on_note=on_note,
                labels=(labels or {}).get(run_id, NO_LABELS),
            )
            failed_in_a_row = 0
        except DamagedFileError as error:
            done = Replayed(run_id=run_id, problem=str(error))
        except TrackingError as error:
            failed_in_a_row += 1
            if failed_in_a_row == GIVE_UP_AFTER:
                raise
            done = Replayed(run_id=run_id, problem=str(error))
        yield done


def _replayed(
    run: RunFolder,
    study: str | None,
    tracker: MlflowTracker,
    *,
    every_value: bool,
    on_note: OnNote,
    labels: Mapping[str, str],
) -> Replayed:
    record = run.record()
    if (record.heartbeat is None and record.result is None) or run.task() is None:
        return Replayed(run_id=run.run_id, not_begun=True)
    if record.state == "running" and run.folder.local is None:
        return Replayed(run_id=run.run_id, left_alone="is being trained; its launch sends it")
    sent = tracker.replay(run, study, every_value=every_value, on_note=on_note, labels=labels)
    return Replayed(run_id=run.run_id, sent=sent)


def summary_of(replayed: Iterable[Replayed]) -> str:
    """One line over all runs."""
    every = list(replayed)
    begun = [one for one in every if not one.not_begun]
    new = [one for one in begun if one.sent.is_new]
    completed = [one for one in begun if not one.sent.is_new and not one.sent.is_nothing]
    problems = [one for one in begun if one.problem]
    left = [one for one in begun if one.left_alone]
    same = len(begun) - len(new) - len(completed) - len(problems) - len(left)
    counts = (
        (len(new), "new"),
        (len(completed), "completed"),
        (same, "had everything"),
        (len(left), "left to their launch"),
        (len(problems), "not sent"),
        (len(every) - len(begun), "not begun"),
    )
    parts = ", ".join(f"{count} {what}" for count, what in counts if count)
    values = sum(one.sent.num_values for one in begun)
    return f"{len(every)} runs: {parts or 'nothing to send'}; {values} values sent"
