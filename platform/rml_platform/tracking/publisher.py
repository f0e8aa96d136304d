"""Keeps a tracker up to date with run folders: the folder is the truth, the tracker the record for
comparison.

One process does it, the launcher (or `rml run` itself), so that workers need neither MLflow nor a
way to its server. What cannot be sent stays where it is, in the run's folder, and goes out at the
next opportunity or launch.
"""

import threading
import time
from collections.abc import Iterable, Mapping

from rml_platform.run.codec import DamagedFileError
from rml_platform.run.faults.outages import is_outage
from rml_platform.run.run_folder import RunFolder
from rml_platform.tracking.tracker import NO_LABELS, OnNote, Tracker, TrackingError

RETRY_AFTER_S = 15.0


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
        self._lock = threading.Lock()

    def sync(self, runs: Iterable[RunFolder], *, closing: bool = False) -> list[str]:
        """Send what is new; returns the ids of the runs that could not be brought up to date.

        After a failure the tracker is left alone for a while. `closing`: the launch is over, so it
        is asked once more whatever happened before, and a run that nobody is at any more is not
        about to be restarted. May be called from several threads: one goes after the other.
        """
        with self._lock:
            return self._sync(runs, closing)

    def _sync(self, runs: Iterable[RunFolder], closing: bool) -> list[str]:
        behind = []
        if closing:
            self._not_before = 0.0
        for run in runs:
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
                if not is_outage(str(error)):
                    raise
                behind.append(run.run_id)
                self._note_away(TrackingError(f"the storage is away: {error}"))
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
            self._on_note(f"{self._tracker.name} is back")
        self._is_away = False
