"""Whose turn it is: which of the waiting runs is started next, and why the others wait.

The order, the first difference decides: a higher priority; a size for which there was room the last
time; fewer tries in this launch that failed over the run itself; the study of which fewer cells
were started; an earlier seed (the first seed of every row comes before the second of any); an
earlier place in the table. A run whose beginning another one is training at the moment waits for
it, and the next in the order starts meanwhile.
"""

import bisect
import heapq
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from rml_platform.launch.scheduling.wishes import (
    CANCELLED,
    LOOK_EVERY_REMOTE_S,
    LOOK_EVERY_S,
    WAITS_FOR_ROOM,
    LiveWishes,
    StudyWishes,
)
from rml_platform.planning.plan import Plan
from rml_platform.run.checkpoints import MANIFEST
from rml_platform.run.shared_stages import FOLDER, StageEnds
from rml_platform.run.storage import Folder
from rml_platform.run.task import RunTask, Size


class Judge(Protocol):
    """Why a waiting run may not be started now beside the runs under way, `without` those of some
    ids; empty where it may."""

    def __call__(self, task: RunTask, without: Collection[str] = ()) -> str: ...


Gate = Callable[[Sequence[RunTask], RunTask | None], Judge]
"""Told the runs under way and the one that was started last (it may have ended since): judges any
number of runs by what holds at that moment."""


@dataclass(frozen=True)
class Place:
    """Where a run stands in a study."""

    study: str
    rows: tuple[str, ...]
    seed: int
    """Position of its first seed among the study's."""
    index: int
    """Position in the table, counted over all studies of the launch."""


Places = tuple[Place, ...]
"""One for each study of the launch that has the run."""
NOWHERE = (Place("", (), 0, 0),)


def places_of(plans: Sequence[Plan]) -> dict[str, Places]:
    """The places of every run."""
    places: dict[str, Places] = {}
    index = 0
    for plan in plans:
        order = {seed: i for i, seed in enumerate(plan.study.seeds)}
        for run in plan.runs:
            rows = tuple(dict.fromkeys(cell.row for cell in run.cells))
            # A repeat fills no cell, and has its turn after those that do.
            seed = min((order[cell.seed] for cell in run.cells), default=len(order))
            own = Place(plan.study.name, rows, seed, index)
            places[run.run_id] = (*places.get(run.run_id, ()), own)
            index += 1
    return places


@dataclass(frozen=True)
class _Waiting:
    """A waiting run; the order is that among runs of the same rows."""

    tries: int
    seed: int
    index: int
    task: RunTask

    def __lt__(self, other: "_Waiting") -> bool:
        return self.key < other.key

    @property
    def key(self) -> tuple[int, int, int]:
        return self.tries, self.seed, self.index


class Turns:
    """The runs of a launch that wait. May be asked by any thread."""

    def __init__(
        self,
        places: Mapping[str, Places] | None = None,
        wishes: Mapping[str, LiveWishes] | None = None,
        gate: Gate = lambda under_way, started: lambda task, without=(): "",
        on_given_up: Callable[[str], None] = lambda run_id: None,
        on_started: Callable[[str], None] = lambda run_id: None,
        ends: StageEnds | None = None,
        on_done: Callable[[str], None] = lambda run_id: None,
    ) -> None:
        """
        Args:
            places: of the runs; without them their order is that in which they are added.
            wishes: by study.
            gate: has the last word on what is started.
            on_given_up: is told the id of each run that ended without a result and gets no other
                turn.
            on_started: is told the id of each run that is taken out.
            ends: of the stages of the runs; default: as their tasks tell.
            on_done: is told the id of each run that ended with a result.
        """
        self._places = places or {}
        self._wishes = wishes or {}
        self._gate = gate
        self.on_given_up = on_given_up
        self.on_done = on_done
        self._on_started = on_started
        self._groups: dict[Places, list[_Waiting]] = {}
        """The waiting runs in their order, by the rows that they fill: what is asked of a row
        changes the order of these lists only."""
        self._started = Counter[str]()
        """Cells by study."""
        self._begun = set[str]()
        """Runs that count there, however often they are taken out."""
        self._without_room = dict[Size, int]()
        """Sizes for which there was no room the last time, and when, as a count of such times."""
        self._num_without_room = 0
        self._num_added = 0
        self.about_room = ""
        """What else is to be said of runs that wait for room."""
        self._under_way: tuple[RunTask, ...] = ()
        self._started_last: RunTask | None = None
        self._beginnings = Beginnings(ends or StageEnds())
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return sum(map(len, self._groups.values()))

    def add(self, task: RunTask, tries: int = 0) -> None:
        """Let a run wait for its turn; `tries` of this launch have failed over the run itself."""
        places = self._places_of(task)
        rows = tuple(Place(place.study, place.rows, 0, 0) for place in places)
        self._num_added += 1
        index = min(place.index for place in places) if places != NOWHERE else self._num_added
        waiting = _Waiting(tries, min(place.seed for place in places), index, task)
        with self._lock:
            if not tries and task.run_id in self._begun:  # it keeps its turn
                self._begun.remove(task.run_id)
                self._started.subtract(place.study for place in rows)
            bisect.insort(self._groups.setdefault(rows, []), waiting)

    def note_room(self, task: RunTask, *, is_there: bool) -> None:
        """Whether an attempt that has ended found room. Where there was none, runs of other sizes
        come first until there is: smaller ones may fit meanwhile."""
        with self._lock:
            self._without_room.pop(task.size, None)
            if not is_there:
                self._num_without_room += 1
                self._without_room[task.size] = self._num_without_room

    def next(self, under_way: Sequence[RunTask]) -> RunTask | None:
        """Take out the run to start now, beside those that are under way."""
        with self._lock:
            self._under_way = tuple(under_way)
            asked = self._asked()
            reason = self._reasoning(asked, under_way)
            for rows, waiting in self._in_order(asked):
                if not reason(waiting.task, rows):
                    self._groups[rows].remove(waiting)
                    if waiting.task.run_id not in self._begun:
                        self._started.update(place.study for place in rows)
                    self._begun.add(waiting.task.run_id)
                    self._under_way = (*self._under_way, waiting.task)
                    self._started_last = waiting.task
                    self._on_started(waiting.task.run_id)
                    return waiting.task
        return None

    def may_any_start(self, tasks: Iterable[RunTask]) -> bool:
        """Whether one of some runs, none of which waits here yet, could be started now if nothing
        was under way."""
        with self._lock:
            reason = self._reasoning(self._asked(), ())
            return any(not reason(task, self._places_of(task)) for task in tasks)

    def unwanted(self, waiting: Collection[str], under_way: Sequence[RunTask]) -> dict[str, str]:
        """Why runs that were handed out and wait for room could not be started now. The first of
        them is judged beside the runs that wait for nothing, each other one also beside those
        before it that may stay, so that no run is among them only because of another one that is.

        Args:
            waiting: their ids.
            under_way: all runs that were handed out, in that order.
        """
        with self._lock:
            reason = self._reasoning(self._asked(), under_way)
            left_out = set(waiting)
            found: dict[str, str] = {}
            for task in under_way:
                if task.run_id not in waiting:
                    continue
                if why := reason(task, self._places_of(task), left_out):
                    found[task.run_id] = why
                else:
                    left_out.remove(task.run_id)
            return found

    def reasons(self, under_way: Sequence[RunTask] | None = None) -> dict[str, str]:
        """Why each waiting run waits, in the order in which they will be started.

        Args:
            under_way: default: the runs that were under way when a run was asked for last.
        """
        with self._lock:
            others = self._under_way if under_way is None else under_way
            asked = self._asked()
            reason = self._reasoning(asked, others)
            room = "; ".join(filter(None, (WAITS_FOR_ROOM, self.about_room)))
            return {
                waiting.task.run_id: reason(waiting.task, rows) or room
                for rows, waiting in self._in_order(asked)
            }

    def under_way(self) -> tuple[str, ...]:
        """Ids of the runs that were under way when a run was asked for last, and of that one."""
        return tuple(task.run_id for task in self._under_way)

    def _places_of(self, task: RunTask) -> Places:
        return self._places.get(task.run_id, NOWHERE)

    def _asked(self) -> dict[str, StudyWishes]:
        return {study: wishes.now() for study, wishes in self._wishes.items()}

    def _in_order(self, asked: Mapping[str, StudyWishes]) -> Iterator[tuple[Places, _Waiting]]:
        def keyed(rows: Places) -> Iterator[tuple[tuple[int, ...], Places, _Waiting]]:
            priority = max(_priority(place, asked) for place in rows)
            started = min(self._started[place.study] for place in rows)
            for waiting in list(self._groups[rows]):
                room = self._without_room.get(waiting.task.size, 0)
                yield (
                    (-priority, room, waiting.tries, started, waiting.seed, waiting.index),
                    rows,
                    waiting,
                )

        groups = [keyed(rows) for rows in self._groups]
        merged = heapq.merge(*groups, key=lambda item: item[0])
        return ((rows, waiting) for _, rows, waiting in merged)

    def _reasoning(
        self, asked: Mapping[str, StudyWishes], under_way: Sequence[RunTask]
    ) -> "_Reason":
        """Says why a run may not be started now, empty where it may; what holds for all of them is
        looked up once."""
        trained_by = self._beginnings.now(under_way)
        judges = list[Judge]()

        def reason(task: RunTask, rows: Places, without: Collection[str] = ()) -> str:
            studies = {place.study for place in rows}.intersection(asked)
            if any(task.run_id in asked[study].cancelled for study in studies):
                return CANCELLED
            if other := trained_by(task, without):
                return f"{other} is training its beginning"
            if not judges:
                judges.append(self._gate(under_way, self._started_last))
            return judges[0](task, without)

        return reason


class _Reason(Protocol):
    """As `Judge`, of a run with its places."""

    def __call__(self, task: RunTask, rows: Places, without: Collection[str] = ()) -> str: ...


def _priority(place: Place, asked: Mapping[str, StudyWishes]) -> int:
    known = asked.get(place.study)
    return max((known.priorities.get(row, 0) for row in place.rows), default=0) if known else 0


class Beginnings:
    """Which runs would train what another one is training at the moment."""

    def __init__(self, ends: StageEnds) -> None:
        self._is_there: dict[str, tuple[float, bool]] = {}
        self._ends = ends

    def now(self, under_way: Sequence[RunTask]) -> Judge:
        """Tells of a run the id of a run under way whose end of a shared stage it can take over
        once it is there; empty where there is none."""
        makers: dict[str, list[str]] = {}
        """End of a stage that is not left yet → who is at it, in their order."""
        for other in under_way:
            for stage in other.shared_stages:
                if stage in makers or not self._is_left(other.storage, stage):
                    makers.setdefault(stage, []).append(other.run_id)

        def trained_by(task: RunTask, without: Collection[str] = ()) -> str:
            for stage in task.shared_stages:
                others = (run_id for run_id in makers.get(stage, ()) if run_id not in without)
                first = next(others, "")
                if first and stage != self._ends.last_of(task):
                    return first
            return ""

        return trained_by

    def _is_left(self, storage: str, stage: str) -> bool:
        asked_at, is_there = self._is_there.get(stage, (-float("inf"), False))
        folder = Folder.open(storage).child(FOLDER, stage)
        every_s = LOOK_EVERY_S if folder.local else LOOK_EVERY_REMOTE_S
        if not is_there and time.monotonic() - asked_at >= every_s:
            is_there = MANIFEST in folder.files()
            self._is_there[stage] = (time.monotonic(), is_there)
        return is_there
