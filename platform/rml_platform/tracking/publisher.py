"""Keeps a tracker up to date with run folders: the folder is the truth, the tracker the record for
comparison.

One process does it, the launcher (or `rml run` itself), so that workers need neither MLflow nor a
way to its server. What cannot be sent stays where it is, in the run's folder, and goes out at the
next opportunity or launch.
"""

import math
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Protocol

from rml_platform.run.codec import DamagedFileError
from rml_platform.run.faults.outages import is_outage, patience_s
from rml_platform.run.run_folder import RunFolder
from rml_platform.tracking.tracker import NO_LABELS, OnNote, Tracker, TrackingError

RETRY_AFTER_S = 15.0
A_MOMENT_S = 3.0
"""What the last sending of a launch that was stopped gets in any case."""


class Synchronises(Protocol):
    """What brings a tracker up to date with run folders."""

    def sync(self, runs: Iterable[RunFolder], *, closing: bool = False) -> list[str]:
        """As `Publisher.sync`."""
        ...


def sync_at_the_end(
    publisher: Synchronises, runs: Iterable[RunFolder], on_note: OnNote
) -> list[str]:
    """Send what a launch that is over has left; returns the ids of the runs that could not be
    brought up to date. Where somebody has stopped it, a tracker that does not answer is waited for
    no longer than anything else (`patience_s`)."""
    left_s = patience_s()
    if math.isinf(left_s):
        return publisher.sync(runs, closing=True)
    runs = tuple(runs)
    behind = list[list[str]]()
    errors = list[BaseException]()

    def send() -> None:
        try:
            behind.append(publisher.sync(runs, closing=True))
        except BaseException as error:  # raised by whoever waits for it
            errors.append(error)

    thread = threading.Thread(target=send, name="last-sending", daemon=True)
    thread.start()
    thread.join(max(A_MOMENT_S, left_s))
    for error in errors:
        raise error
    if not behind:
        on_note(
            "the tracker does not answer in time, and the launch was stopped: what it lacks is in "
            "the run folders, and `rml tracking sync` or the next launch sends it"
        )
    return behind[0] if behind else [run.run_id for run in runs]


class Publisher:
    """Sends run folders to one tracker; never raises when the tracker is away."""

    def __init__(
        self,
        tracker: Tracker,
        study: str,
        on_note: OnNote,
        labels: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        """Every run that is synchronised becomes one of `study`'s, whichever study trained it.

        `labels`: by run id, tags that only the study knows.
        """
        self._labels = labels or {}
        self._tracker = tracker
        self._study = study
        self._on_note = on_note
        self._not_before = 0.0
        self._is_away = False
        self._damaged_seen = set[str]()
        self._unwritable_seen = set[str]()
        self._lock = threading.Lock()
        self._is_closing = threading.Event()

    def sync(self, runs: Iterable[RunFolder], *, closing: bool = False) -> list[str]:
        """Send what is new; returns the ids of the runs that could not be brought up to date.

        After a failure the tracker is left alone for a while. `closing`: the launch is over, so it
        is asked once more whatever happened before, and a run that nobody is at any more is not
        about to be restarted. May be called from several threads: one goes after the other, and
        none sends any more once the launch is over but who closes.
        """
        if not closing:
            with self._lock:
                return self._sync(runs, closing)
        self._is_closing.set()
        try:
            with self._lock:
                return self._sync(runs, closing)
        finally:
            self._is_closing.clear()

    def _sync(self, runs: Iterable[RunFolder], closing: bool) -> list[str]:
        behind = []
        if closing:
            self._not_before = 0.0
        for run in runs:
            if self._is_closing.is_set() and not closing:
                behind.append(run.run_id)
                continue
            if self._is_away and time.monotonic() < self._not_before:
                behind.append(run.run_id)
                continue
            try:
                self._tracker.publish(
                    run,
                    self._study,
                    closing=closing,
                    on_note=self._on_note,
                    labels=self._labels.get(run.run_id, NO_LABELS),
                )
                self._note_back()
            except TrackingError as error:
                behind.append(run.run_id)
                self._note_away(error)
            except DamagedFileError as error:
                behind.append(run.run_id)
                self._note_damaged(error)
            except OSError as error:
                behind.append(run.run_id)
                if is_outage(str(error)):
                    self._note_away(TrackingError(f"the storage is away: {error}"))
                else:
                    self._note_unwritable(run, error)
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

    def _note_unwritable(self, run: RunFolder, error: OSError) -> None:
        """A disk that is full, or a folder that nobody may write to, holds up no other run; it is
        told of the first."""
        if str(error) not in self._unwritable_seen:
            self._on_note(f"{run.folder.path}: {error}; what the tracker lacks of it is sent later")
        self._unwritable_seen.add(str(error))

    def _note_back(self) -> None:
        if self._is_away:
            self._on_note(f"{self._tracker.name} is back")
        self._is_away = False
