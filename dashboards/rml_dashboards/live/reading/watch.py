"""Plans and runs as one snapshot, brought up to date by looks that read only what has changed.

On this machine a run's folder changes its time whenever one of its files does, because files are
written under another name and moved; so one scan of `runs/` tells which few of ten thousand runs
are worth reading. Elsewhere runs that are done are left alone, and the others are listed. What was
read so soon after its last change that a further one need not show is read once more.
"""

import dataclasses
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from rml_dashboards.contract.freshness import have_settled
from rml_dashboards.contract.planned import PlannedRow
from rml_dashboards.contract.states import ALIVE
from rml_dashboards.errors import DashboardError
from rml_dashboards.live.reading.asked import Asked, AskedFolder, Wishes
from rml_dashboards.live.reading.plans import PlanFolder, ShownStudy
from rml_dashboards.live.reading.recorded import RecordedRuns
from rml_dashboards.live.reading.run_status import NOT_BEGUN, RunStatus, is_alive, status_of
from rml_dashboards.live.reading.storage import Files, RunStorage, Stamp

NUM_READERS = 16
"""Folders read at once; what an object store needs is time, not cores."""
TRAIL_LENGTH = 500
"""Signs of life of a running run that are kept, for the end of its curves."""
Trail = tuple[tuple[int, float | None, float | None], ...]
"""Step, loss and mIoU of the newest signs of life."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """All that is known at one moment."""

    version: int = 0
    studies: Mapping[str, ShownStudy] = field(default_factory=dict)
    statuses: Mapping[str, RunStatus] = field(default_factory=dict)
    """Of every run of the studies that has begun."""
    stamps: Mapping[str, Stamp] = field(default_factory=dict)
    """Every run that has a folder, planned or not."""
    problems: tuple[str, ...] = ()
    asked: Asked = field(default_factory=Asked)
    """What people and launches say of runs that have not begun or have stopped."""

    def seen_by(self, study: ShownStudy) -> "Snapshot":
        """The same moment as one study has it: whether a run is cancelled is each study's own
        matter."""
        cancelled = self.asked.wishes.get(study.key, Wishes()).cancelled
        statuses = dict(self.statuses)
        for run_id in (*self.asked.waiting, *cancelled):
            known = self.status(run_id)
            if known.state in ("done", "running"):
                continue
            is_cancelled = run_id in cancelled
            statuses[run_id] = dataclasses.replace(
                known,
                state="cancelled" if is_cancelled else "waiting",
                reason=known.reason if is_cancelled else self.asked.waiting[run_id],
            )
        return dataclasses.replace(self, statuses=statuses)

    def priority_of(self, study: ShownStudy, row: PlannedRow) -> int:
        """The priority that counts for a row."""
        wishes = self.asked.wishes.get(study.key, Wishes())
        return wishes.priority_of(row.label, row.priority)

    def status(self, run_id: str) -> RunStatus:
        return self.statuses.get(run_id, NOT_BEGUN)


def _asked_anew(before: Asked, now: Asked) -> list[str]:
    """Ids of the runs of which something else is asked than before."""
    waits = {*before.waiting.items()} ^ {*now.waiting.items()}
    changed = {run_id for run_id, _ in waits}
    for key in {*before.wishes, *now.wishes}:
        known = before.wishes.get(key, Wishes()).cancelled
        changed |= known ^ now.wishes.get(key, Wishes()).cancelled
    return sorted(changed)


@dataclass(frozen=True, kw_only=True)
class Change:
    """What a look found new."""

    version: int
    runs: tuple[str, ...]
    are_plans_new: bool = False


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """What a run's folder was when it was read."""

    stamp: Stamp
    files: Files
    is_settled: bool


class Watch:
    """Looks at plans and runs whenever it is told to. Several threads may use it."""

    def __init__(
        self,
        storage: RunStorage,
        plans: PlanFolder,
        asked: AskedFolder | None = None,
        recorded: RecordedRuns | None = None,
    ) -> None:
        """
        Args:
            asked: what people and launches say; None: nothing but plans and run folders counts.
            recorded: runs of a tracker, for those that have no folder in the storage.
        """
        self.storage = storage
        self._plans = plans
        self._asked = asked
        self._recorded = recorded
        self._lock = threading.Lock()
        self._seen: dict[str, _Seen] = {}
        self._trails: dict[str, deque[tuple[int, float | None, float | None]]] = {}
        self._problem = ""
        self.snapshot = Snapshot()
        self.looked_at = 0.0
        """Unix time of the newest look."""
        self.num_read = 0
        """Folders read by the newest look."""

    def look(self, now: float | None = None) -> Change | None:
        """Bring the snapshot up to date; what has changed, or None.

        A storage that cannot be read for a moment leaves everything as it was, and the snapshot
        says so among its problems.
        """
        with self._lock:
            self.looked_at = time.time() if now is None else now
            try:
                return self._look(self.looked_at)
            except DashboardError as error:
                return self._tell(str(error))

    def trail(self, run_id: str) -> Trail:
        """Newest signs of life of a run that is at work, in order of its steps."""
        with self._lock:
            return tuple(self._trails.get(run_id, ()))

    def _tell(self, problem: str) -> Change | None:
        if problem == self._problem:
            return None
        before = self.snapshot
        known = [text for text in before.problems if text != self._problem]
        self._problem = problem
        self.snapshot = dataclasses.replace(
            before, version=before.version + 1, problems=(problem, *known)
        )
        return Change(version=self.snapshot.version, runs=(), are_plans_new=True)

    def _look(self, now: float) -> Change | None:
        before = self.snapshot
        studies, of_plans = self._plans.read()
        asked, of_asked = self._asked.read(studies, now) if self._asked else (Asked(), ())
        stamps = self.storage.stamps()
        elsewhere, of_records = self._elsewhere(studies, stamps, now)
        problems = (*of_plans, *of_asked, *of_records)
        self._problem = ""
        are_plans_new = problems != before.problems or studies != before.studies
        planned = {run.run_id for study in studies.values() for run in study.plan.runs}
        begun = [run_id for run_id in stamps if run_id in planned]
        due = [run_id for run_id in begun if self._is_due(run_id, stamps[run_id])]
        fresh = dict(self._read(due, stamps, now))
        statuses = {run_id: fresh.get(run_id) or before.status(run_id) for run_id in begun}
        for run_id, status in statuses.items():
            if status.state == "running" and not is_alive(ALIVE, status.seen or 0.0, now):
                statuses[run_id] = dataclasses.replace(status, state="cut_off")
        statuses |= elsewhere
        self.num_read = len(fresh)
        changed = tuple(
            run_id
            for run_id in dict.fromkeys((*before.statuses, *statuses))
            if statuses.get(run_id, NOT_BEGUN) != before.status(run_id)
        )
        self._forget(set(begun))
        self._follow(changed, statuses)
        is_same = asked == before.asked and stamps.keys() == before.stamps.keys()
        if not changed and not are_plans_new and is_same:
            return None
        self.snapshot = Snapshot(
            version=before.version + 1,
            studies=studies,
            statuses=statuses,
            stamps=stamps,
            problems=problems,
            asked=asked,
        )
        told = tuple(dict.fromkeys((*changed, *_asked_anew(before.asked, asked))))
        return Change(version=before.version + 1, runs=told, are_plans_new=are_plans_new)

    def _elsewhere(
        self, studies: Mapping[str, ShownStudy], stamps: Mapping[str, Stamp], now: float
    ) -> tuple[dict[str, RunStatus], tuple[str, ...]]:
        """Runs without a folder here that a tracker knows, and why it cannot be read."""
        if self._recorded is None:
            return {}, ()
        wanted = {
            run.run_id: run.stages[-1].last_step if run.stages else 0
            for study in studies.values()
            for run in study.plan.runs
            if run.run_id not in stamps
        }
        return self._recorded.statuses(wanted, now)

    def _is_due(self, run_id: str, stamp: Stamp) -> bool:
        seen = self._seen.get(run_id)
        if seen is None or not seen.is_settled:
            return True
        if stamp is None:
            return self.snapshot.status(run_id).state != "done"
        return stamp != seen.stamp

    def _read(
        self, due: Iterable[str], stamps: Mapping[str, Stamp], now: float
    ) -> Iterable[tuple[str, RunStatus]]:
        def read(run_id: str) -> tuple[str, RunStatus] | None:
            read_ns = time.time_ns()
            files = self.storage.files(run_id)
            known = self._seen.get(run_id)
            is_same = known is not None and known.files == files and bool(files)
            stamp = stamps[run_id]
            times = [changed for changed, _ in files.values()] if stamp is None else [stamp]
            settled = have_settled(times, read_ns)
            self._seen[run_id] = _Seen(stamp=stamp, files=files, is_settled=settled)
            if is_same and known is not None and known.is_settled:
                return None
            return run_id, status_of(files, lambda name: self.storage.read(run_id, name), now)

        if self.storage.is_local:  # where threads would only wait for each other
            return [found for found in map(read, due) if found is not None]
        with ThreadPoolExecutor(NUM_READERS) as pool:
            return [found for found in pool.map(read, due) if found is not None]

    def _forget(self, there: set[str]) -> None:
        for run_id in self._seen.keys() - there:
            del self._seen[run_id]

    def _follow(self, changed: Iterable[str], statuses: Mapping[str, RunStatus]) -> None:
        """Keep what running runs say of themselves between two of their checkpoints."""
        for run_id in changed:
            status = statuses.get(run_id, NOT_BEGUN)
            if status.state != "running":
                self._trails.pop(run_id, None)
                continue
            trail = self._trails.setdefault(run_id, deque(maxlen=TRAIL_LENGTH))
            while trail and trail[-1][0] >= status.step:
                trail.pop()  # it went on from an earlier checkpoint, or told its score since
            trail.append((status.step, status.loss, status.miou))
