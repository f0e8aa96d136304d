"""What a launch may spend: device-hours in all, of a study and of a row, and the time until a
deadline. A run that would not fit is not started, and what runs is stopped after a checkpoint when
a budget is used up.
"""

import functools
import json
import re
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rml_platform.launch.live_view import duration
from rml_platform.launch.scheduling.elsewhere import Elsewhere
from rml_platform.launch.scheduling.limits import Ledger, Limit, Taken, limits_of
from rml_platform.launch.scheduling.turns import Judge
from rml_platform.planning.cost import first_steps
from rml_platform.planning.costs.forecast import ELSEWHERE, Devices, Paces, seconds_left
from rml_platform.planning.costs.measured import Probe
from rml_platform.planning.costs.probe import gpu_kinds_here, probes_of
from rml_platform.planning.plan import Plan
from rml_platform.planning.plan_file.writing import to_written
from rml_platform.planning.plan_file.written_plan import WrittenPlan
from rml_platform.run.reporters import DEADLINE
from rml_platform.run.run_folder import RunFolder, RunRecord, to_keep
from rml_platform.run.task import RunTask
from rml_platform.study.study_file import ResourcesConfig
from rml_trainers.errors import ConfigError

DEADLINE_PASSED = "the deadline has passed"
"""What is said of runs that it left."""

LOOK_EVERY_S = 0.5
_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


def parse_deadline(text: str, now: float) -> float:
    """Unix time of a deadline: `90m`, `6h`, `2d` from now, or a date and time in ISO 8601, local
    where it names no zone. Raises ConfigError."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|min|m|h|d)\s*", text)
    try:
        at = now + float(found[1]) * _UNITS[found[2]] if found else _iso(text)
    except ValueError:
        raise ConfigError(
            f"--deadline {text!r}: expected a time from now, like 90m, 6h or 2d, or a date and "
            "time, like 2026-12-01T08:00"
        ) from None
    if at <= now:
        raise ConfigError(f"--deadline {text!r}: that has passed")
    return at


def _iso(text: str) -> float:
    return datetime.fromisoformat(text.strip()).timestamp()


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a launch is given on the command line."""

    max_gpu_hours: float | None = None
    deadline: float | None = None
    """Unix time."""


NO_TERMS = Terms()


class Budget:
    """Says of runs whether they may be started, and which have to stop. May be asked by any
    thread."""

    def __init__(
        self,
        plans: Sequence[WrittenPlan],
        folders: Mapping[str, RunFolder],
        limits: Sequence[Limit],
        deadline: float | None = None,
        probes: Mapping[str, Probe] | None = None,
        clock: Callable[[], float] = time.time,
        look_every_s: float = 0.0,
        gpu_kinds: Sequence[str] = (),
    ) -> None:
        """
        Args:
            look_every_s: how long what was read of a run under way holds, while it is.
            gpu_kinds: that runs may get where their tasks name none; empty where nobody knows.
        """
        self.stopped: dict[str, str] = {}
        """Runs that were asked to stop, and why."""
        self._limits = limits
        self._deadline = deadline
        self._probes = probes or {}
        self._clock = clock
        self._gpu_kinds = tuple(gpu_kinds)
        self._folders = folders
        self._runs = {run.run_id: run for plan in plans for run in plan.runs}
        firsts = first_steps(run.stages for run in self._runs.values())
        self._begins = dict(zip(self._runs, firsts, strict=True))
        self._bounds = bool(limits) or deadline is not None
        self._records = {
            i: to_keep(f.record()) if self._bounds else _NEW for i, f in folders.items()
        }
        self._taken = {run_id: Taken() for run_id in self._records}
        counted = [limit.run_ids for limit in limits if not limit.of_launch]
        self._elsewhere = Elsewhere(frozenset().union(*counted))
        for run_id, record in self._records.items():
            self._taken[run_id].add(record, is_own=False)
            self._elsewhere.note(run_id, record)
        self._study_of = {run.run_id: plan.name for plan in reversed(plans) for run in plan.runs}
        """The study whose resources a run is given: of several the first."""
        self._given: dict[str, Devices] = {}
        """What the runs of a study are given, by its name; known by being asked about one."""
        self._asked_about = set[str]()
        self._launch_id = ""
        self._paces = Paces.of(self._runs.values(), self._records)
        self._ledger = Ledger(limits)
        self._admitted = ""
        """The run that was let through last: it may have been started and ended since."""
        self._look_every_s = look_every_s
        self._looked_at = -float("inf")
        self._under_way = set[str]()
        self._lock = threading.Lock()

    @property
    def is_past_deadline(self) -> bool:
        """Whether the launch has to end."""
        return self._deadline is not None and self._clock() >= self._deadline

    def take(self, records: Mapping[str, RunRecord]) -> None:
        """Runs are this launch's from here on; their records as they stand now tell what others
        have spent on them until then."""
        if not self._bounds:
            return
        with self._lock:
            for run_id, record in records.items():
                self._enter(run_id, record)
            self._elsewhere.take(records)
            for run_id in records:
                self._elsewhere.note(run_id, self._records[run_id])

    def give_back(self, run_id: str) -> None:
        """A run is not this launch's any more: what others spend on it is theirs."""
        if not self._bounds:
            return
        with self._lock:
            self._elsewhere.give_back(run_id)
            self._elsewhere.note(run_id, self._records[run_id])

    def why_stopped(self, run_id: str) -> str:
        """Why a run was stopped on its way; empty where no budget did that."""
        if run_id in self.stopped:
            return self.stopped[run_id]
        if self._deadline is None or run_id not in self._asked_about:
            return ""
        failure = self._folders[run_id].record().failure_of(self._launch_id)
        was_stopped = failure is not None and failure.message.endswith(f": {DEADLINE}")
        return DEADLINE_PASSED if was_stopped else ""

    def refusal(self, task: RunTask, under_way: Sequence[RunTask]) -> str:
        """Why a run may not be started beside those under way; empty where it may."""
        reason = self.judging(under_way, None)(task)
        self._admitted = "" if reason else task.run_id
        return reason

    def judging(self, under_way: Sequence[RunTask], started: RunTask | None) -> Judge:
        """Look once where everything stands, and judge any number of runs by that.

        Args:
            started: the run that was started last; it may have ended since.
        """
        if not self._bounds:
            return lambda task, without=(): ""
        with self._lock:
            self._learn(under_way if started is None else (*under_way, started))
            self._look([one.run_id for one in under_way], started)
            hours = {one.run_id: self._hours_left(one) for one in under_way}
        of_limits = [
            {run_id: needed for run_id, needed in hours.items() if run_id in limit.run_ids}
            for limit in self._limits
        ]
        sums = [sum(needed.values()) for needed in of_limits]

        def judge(task: RunTask, without: Collection[str] = ()) -> str:
            def promised(number: int) -> float:
                """To the runs under way, of the limit at a position."""
                if not without:  # thousands are judged so
                    return sums[number]
                others = of_limits[number].items()
                return sum(needed for run_id, needed in others if run_id not in without)

            return self._judge(task, promised)

        return judge

    def _judge(self, task: RunTask, promised: Callable[[int], float]) -> str:
        with self._lock:
            self._learn([task])
            if self._deadline is not None:
                left_s = self._deadline - self._clock()
                need_s = self._seconds_left(task)
                if left_s <= 0:
                    return DEADLINE_PASSED
                if need_s is not None and need_s > left_s:
                    return f"takes {duration(need_s)}; {duration(left_s)} until the deadline"
            reasons = (
                self._beyond(limit, task, promised(number))
                for number, limit in enumerate(self._limits)
                if task.run_id in limit.run_ids
            )
            return next(filter(None, reasons), "")

    def _beyond(self, limit: Limit, task: RunTask, promised: float) -> str:
        spent = self._ledger.spent(limit)
        need = self._hours_left(task)
        if spent < limit.hours and spent + promised + need <= limit.hours:
            return ""
        unit = self._devices(task).unit
        parts = [f"{spent:.3g} of {limit.hours:g} {unit}-hours spent"]
        parts += [f"{promised:.3g} promised"] if promised else []
        parts += [f"it takes {need:.3g}"] if need else []
        return f"{limit.name}: {', '.join(parts)}"

    def stop_what_is_over(self, under_way: Collection[str]) -> None:
        """Ask runs under way to stop after their next checkpoint where a limit is used up."""
        if not self._limits:
            return
        with self._lock:
            self._look(under_way)
            for limit in self._limits:
                if self._ledger.spent(limit) < limit.hours:
                    continue
                for run_id in set(under_way).intersection(limit.run_ids) - self.stopped.keys():
                    why = f"{limit.name}: used up"
                    self._folders[run_id].request_cancel(at_checkpoint=True, why=why)
                    # Not before: what the storage did not take is asked again by the next look.
                    self.stopped[run_id] = why

    def _learn(self, tasks: Sequence[RunTask]) -> None:
        """What runs are given is known by being asked about them. What was known before may have
        been a guess, and holds for runs that are done as well: all are counted again."""
        for task in tasks:
            self._launch_id = task.launch_id
            self._asked_about.add(task.run_id)
            study = self._study_of[task.run_id]
            devices = self._devices(task)
            known = self._given.get(study)
            if known is None or (known.count, known.unit) != (devices.count, devices.unit):
                self._given[study] = devices
                for run_id in self._records:
                    self._count(run_id)

    def _look(self, under_way: Collection[str], started: RunTask | None = None) -> None:
        """Read again where runs stand that are under way, or were when they were last looked at:
        what has ended at once, the others now and then, and some that another launch may be at."""
        now_s = time.monotonic()
        ended = self._under_way.difference(under_way)
        ended |= {self._admitted, started.run_id if started is not None else ""}
        self._under_way = set(under_way)
        is_due = now_s - self._looked_at >= self._look_every_s
        if is_due:
            self._looked_at = now_s
        for run_id in {*ended, *(self._under_way if is_due else ())} - {""}:
            self._enter(run_id, self._folders[run_id].record())
        if is_due:
            for run_id in self._elsewhere.in_turn(self._under_way):
                self._enter(run_id, self._folders[run_id].record())

    def _enter(self, run_id: str, record: RunRecord) -> None:
        """Where a run stands now, for all that goes by it."""
        before = self._records[run_id]
        now = self._records[run_id] = to_keep(record)
        self._paces.move(self._runs[run_id], before, now)
        is_here = not self._elsewhere.has(run_id)
        is_own = now.heartbeat.launch_id == self._launch_id if now.heartbeat else is_here
        self._taken[run_id].add(now, is_own=is_own)
        self._elsewhere.note(run_id, now)
        self._count(run_id)

    def _count(self, run_id: str) -> None:
        """Enter into the ledger what a run has taken, all in all and in this launch."""
        taken = self._taken[run_id]
        # As the runs of another study where none of its own was asked about.
        known = self._given.get(self._study_of[run_id]) or next(iter(self._given.values()), None)
        devices = known or Devices(count=1, unit="core")
        hours = devices.hours(taken.in_all)
        self._ledger.enter(run_id, hours, of_launch=devices.hours(taken.by_launch))

    def _seconds_left(self, task: RunTask) -> float | None:
        """None where it is not known well enough to refuse a run for it."""
        run = self._runs[task.run_id]
        seconds, source = seconds_left(
            run,
            self._records[task.run_id],
            self._begins[task.run_id],
            self._paces,
            self._probes.get(run.kind),
            self._devices(task),
        )
        return None if source == ELSEWHERE else seconds

    def _devices(self, task: RunTask) -> Devices:
        workers = task.num_workers
        gpus = workers * task.gpus_per_worker
        if gpus == 0:
            return Devices(count=workers * task.cpus_per_worker, unit="core", workers=workers)
        return Devices(
            count=gpus,
            unit="GPU",
            workers=workers,
            kinds=(task.accelerator,) if task.accelerator else self._gpu_kinds,
            uses_cpu=_wants_cpu(task.config_json),
        )

    def _hours_left(self, task: RunTask) -> float:
        """Zero where nothing is known of it."""
        return self._devices(task).hours(self._seconds_left(task) or 0.0)


_NEW = RunRecord(state="new")


@functools.cache  # it is asked about each run that waits, again and again
def _wants_cpu(config_json: str) -> bool:
    return bool(json.loads(config_json)["runtime"]["device"] == "cpu")


def budget_of(
    plans: Sequence[Plan],
    folders: Mapping[str, RunFolder],
    terms: Terms,
    out: Path,
    *,
    is_local: bool,
) -> Budget:
    """The budget of a launch over some plans. Probes tell how long runs take: of this machine, or,
    where they go to a cluster, of the kind of device that they ask for there."""
    rows = [row for plan in plans for row in plan.study.rows]
    own = [terms.max_gpu_hours, terms.deadline, *(row.max_gpu_hours for row in rows)]
    own += [plan.study.max_gpu_hours for plan in plans]
    if all(limit is None for limit in own):
        return Budget((), {}, ())
    written = [to_written(plan, None, out) for plan in plans]
    probes: dict[str, Probe] = {}
    for plan in written:
        kinds = gpu_kinds_asked_for(plan.resources)
        probes |= probes_of(plan, out, is_local=is_local, gpu_kinds=kinds)
    limits = limits_of(written, terms.max_gpu_hours)
    return Budget(
        written,
        folders,
        limits,
        terms.deadline,
        probes,
        look_every_s=LOOK_EVERY_S,
        gpu_kinds=gpu_kinds_here() if is_local else (),
    )


def gpu_kinds_asked_for(resources: ResourcesConfig) -> list[str] | None:
    """Kinds of GPU that runs get on a cluster, as far as their study says; None where they get
    none. What else they get is known once it is joined, and their own pace tells then."""
    if resources.gpus_per_worker == 0:
        return None
    return [resources.accelerator] if resources.accelerator else []
