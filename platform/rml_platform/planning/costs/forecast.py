"""What is left of runs, in time, device-hours, bytes and money, and where each figure comes from.

Knows neither torch nor configurations: it goes by the written plan and the records of runs.
"""

import heapq
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rml_dashboards.contract.run_folder import seconds_and_steps
from rml_platform.planning.cost import first_steps, stated_seconds_left
from rml_platform.planning.costs.measured import Probe, is_of_kind
from rml_platform.planning.plan_file.written_plan import WrittenPlan, WrittenRun
from rml_platform.run.run_folder import RunRecord
from rml_platform.study.study_file import ResourcesConfig
from rml_trainers.errors import ConfigError

Records = Mapping[str, RunRecord]
Source = Literal[
    "its own pace",
    "runs of its kind",
    "probe",
    "runs of its method",
    "stated",
    "runs of its kind on other devices",
]
ELSEWHERE: Source = "runs of its kind on other devices"
"""A guess of the order of magnitude, and nothing to refuse a run for."""
NO_ROW = "(noise floor)"
"""What stands for the row of a run that fills no cell, because it repeats another one."""
SOURCES: tuple[Source, ...] = (
    "its own pace",
    "runs of its kind",
    "probe",
    "runs of its method",
    "stated",
    ELSEWHERE,
)
"""Where the time of a run is from, the best first."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a run has been trained, as far as its record tells."""

    device: str
    """By its own name; `cpu`."""
    num_workers: int | None

    @classmethod
    def of(cls, record: RunRecord) -> "Place":
        """Where it was last."""
        teller = record.result or record.heartbeat
        if teller is None:
            return cls(device="", num_workers=None)
        return cls(device=teller.device, num_workers=teller.num_workers)


@dataclass(frozen=True, kw_only=True)
class Devices:
    """What one run occupies."""

    count: float
    unit: Literal["GPU", "core"]
    workers: int | None = None
    """None where any number is meant."""
    kinds: tuple[str, ...] = ()
    """Of GPUs that it may get, by their own names or as Ray names them; empty where nobody
    knows."""
    uses_cpu: bool = False
    """Its configuration wants the CPU, whatever it is given."""

    @classmethod
    def of(
        cls,
        resources: ResourcesConfig,
        gpus_there: float,
        kinds: Iterable[str] = (),
        *,
        uses_cpu: bool = False,
    ) -> "Devices":
        """GPUs where a run is given some, else cores.

        Args:
            gpus_there: GPUs of the machine or cluster.
            kinds: of those of them that it may get.
        """
        workers = resources.workers
        gpus = workers * resources.gpus(gpus_there)
        if gpus > 0:
            kinds = tuple(kinds)
            return cls(count=gpus, unit="GPU", workers=workers, kinds=kinds, uses_cpu=uses_cpu)
        return cls(count=workers * resources.cpus_per_worker, unit="core", workers=workers)

    def are_as(self, place: Place) -> bool:
        """Whether what was trained in a place tells how fast a run is on these."""
        if None not in (place.num_workers, self.workers) and place.num_workers != self.workers:
            return False
        if self.unit == "core" or self.uses_cpu:
            return place.device == "cpu"
        if place.device in ("", "cpu"):
            return False
        return not self.kinds or any(is_of_kind(place.device, kind) for kind in self.kinds)

    def hours(self, seconds: float) -> float:
        """Device-hours of so many seconds of a run."""
        return self.count * seconds / 3600


@dataclass(frozen=True, kw_only=True)
class RunForecast:
    """What is left of one run that is not done."""

    run_id: str
    rows: tuple[str, ...]
    seconds: float | None
    """Wall time; None where nothing is known."""
    source: Source | None
    num_bytes: int | None = None
    """What its folder will take up when it is done."""


@dataclass
class _Pace:
    """Seconds and steps of runs so far."""

    seconds: float = 0.0
    steps: int = 0

    def add(self, seconds: float, steps: int, times: int = 1) -> None:
        """`times` = -1 takes back what was added."""
        if seconds > 0 and steps > 0:
            self.seconds += times * seconds
            self.steps += times * steps

    @property
    def per_step(self) -> float | None:
        return self.seconds / self.steps if self.steps else None


class _PacesByPlace(dict[Place, _Pace]):
    """Paces of runs that have something in common, by where they were trained."""

    def on(self, devices: Devices, *, are_as: bool = True) -> _Pace:
        """Of those in places as some devices are, or in all others."""
        whole = _Pace()
        for place, pace in self.items():
            if devices.are_as(place) is are_as:
                whole.add(pace.seconds, pace.steps)
        return whole


@dataclass(kw_only=True)
class Paces:
    """Wall time per step, evaluations and checkpoints included: of runs by their kind and by their
    method."""

    of_kind: dict[str, _PacesByPlace] = field(default_factory=dict)
    of_method: dict[str, _PacesByPlace] = field(default_factory=dict)

    @classmethod
    def of(cls, runs: Iterable[WrittenRun], records: Records) -> "Paces":
        """As the records of these runs tell."""
        paces = cls()
        for run in runs:
            paces._add(run, records[run.run_id])
        return paces

    def move(self, run: WrittenRun, before: RunRecord, now: RunRecord) -> None:
        """The record of one of these runs has changed."""
        self._add(run, before, times=-1)
        self._add(run, now)

    def _add(self, run: WrittenRun, record: RunRecord, times: int = 1) -> None:
        seconds, steps = trained(record)
        place = Place.of(record)
        for paces, key in ((self.of_kind, run.kind), (self.of_method, run.method)):
            by_place = paces.setdefault(key, _PacesByPlace())
            by_place.setdefault(place, _Pace()).add(seconds, steps, times)


ENOUGH = 0.05
"""Part of a run's steps after which a pace tells more than a probe: it has seen evaluations."""


def trained(record: RunRecord) -> tuple[float, int]:
    """Seconds that a run has taken so far, over all attempts where it was last, and the steps that
    it made itself in them; of one that is not done without its starts."""
    beat = record.heartbeat
    first = beat.first_step if beat else 0
    elsewhere_s, elsewhere_steps = (beat.elsewhere_s, beat.elsewhere_steps) if beat else (0.0, 0)
    if record.result is not None:
        return record.result.seconds - elsewhere_s, record.result.steps - first - elsewhere_steps
    if beat is None:
        return 0.0, 0
    return seconds_and_steps(
        seconds=beat.seconds - elsewhere_s,
        step=beat.step - elsewhere_steps,
        first_step=first,
        start_up_s=beat.start_up_s,
        start_up_steps=beat.start_up_steps,
    )


def forecast(
    plan: WrittenPlan,
    records: Records,
    *,
    probes: Mapping[str, Probe] | None = None,
    bytes_of_kind: Mapping[str, int] | None = None,
    devices: Devices,
    paces: Paces | None = None,
) -> list[RunForecast]:
    """What is left of every run that is not done, in the order of the plan. What runs have in
    common is counted with the first of them.

    Args:
        probes: by kind, of this machine.
        bytes_of_kind: size of a finished run's folder.
        paces: default: as the records of the plan's own runs tell.
    """
    paces = paces or Paces.of(plan.runs, records)
    begins = first_steps(run.stages for run in plan.runs)
    left = []
    for run, begin in zip(plan.runs, begins, strict=True):
        record = records[run.run_id]
        if record.result is None:
            probe = (probes or {}).get(run.kind)
            seconds, source = seconds_left(run, record, begin, paces, probe, devices)
            size = (bytes_of_kind or {}).get(run.kind) or (probe.run_bytes if probe else None)
            rows = tuple(dict.fromkeys(cell.row for cell in run.cells)) or (NO_ROW,)
            left.append(
                RunForecast(
                    run_id=run.run_id, rows=rows, seconds=seconds, source=source, num_bytes=size
                )
            )
    return left


def seconds_left(
    run: WrittenRun,
    record: RunRecord,
    begin: int,
    paces: Paces,
    probe: Probe | None,
    devices: Devices,
) -> tuple[float | None, Source | None]:
    """Wall time of what is left of a run, from the best source that there is."""
    beat = record.heartbeat
    step = max(beat.step, begin) if beat else begin
    steps = run.num_steps - step
    own = _Pace()
    if devices.are_as(Place.of(record)):
        own.add(*trained(record))
    like = paces.of_kind.get(run.kind, _PacesByPlace()) if run.kind else _PacesByPlace()
    of_kind = like.on(devices)
    of_method = paces.of_method.get(run.method, _PacesByPlace()).on(devices)
    measured: tuple[tuple[_Pace, Source], ...] = (
        (own, "its own pace"),
        (of_kind, "runs of its kind"),
        (of_method, "runs of its method"),
    )
    for pace, source in measured[:2]:
        if pace.per_step is not None and pace.steps >= ENOUGH * run.num_steps:
            return steps * pace.per_step, source
    if probe is not None:
        return probe.seconds(run.stages, step, run.warm_up_steps), "probe"
    for pace, source in measured:
        if pace.per_step is not None:
            return steps * pace.per_step, source
    stated = stated_seconds_left(run.stages, step)
    if stated is not None:
        return stated / devices.count, "stated"
    elsewhere = like.on(devices, are_as=False).per_step
    return (None, None) if elsewhere is None else (steps * elsewhere, ELSEWHERE)


@dataclass(frozen=True, kw_only=True)
class Total:
    """What some runs come to."""

    num_runs: int
    num_unknown: int
    """Runs of which no time is known; they are in none of the sums of time."""
    device_hours: float
    wall_seconds: float
    """With as many runs at once as there is room for."""
    num_bytes: int | None
    """Of the folders of all these runs; None where that of one is not known."""
    sources: tuple[Source, ...]
    """Where the times are from, the best first."""


def total(runs: Sequence[RunForecast], devices: Devices, at_once: int) -> Total:
    """The sum of what is left of runs."""
    known = [run.seconds for run in runs if run.seconds is not None]
    sizes = [run.num_bytes for run in runs]
    used = {run.source for run in runs}
    return Total(
        num_runs=len(runs),
        num_unknown=len(runs) - len(known),
        device_hours=devices.hours(sum(known)),
        wall_seconds=wall_seconds(known, at_once),
        num_bytes=None if None in sizes else sum(size for size in sizes if size is not None),
        sources=tuple(source for source in SOURCES if source in used),
    )


def by_row(plan: WrittenPlan, runs: Sequence[RunForecast]) -> dict[str, list[RunForecast]]:
    """What is left of each row, in the order of the table. A run that fills cells of several rows
    is counted in the first, so that the rows add up; those that fill none come last."""
    rows: dict[str, list[RunForecast]] = {row.label: [] for row in plan.rows if row.columns}
    for run in runs:
        rows.setdefault(run.rows[0], []).append(run)
    return {row: own for row, own in rows.items() if own}


def wall_seconds(seconds: Sequence[float], at_once: int) -> float:
    """Time until the last of some runs has ended, when the longest is begun first and each of the
    others as soon as there is room."""
    ends = [0.0] * min(at_once, max(1, len(seconds)))
    for one in sorted(seconds, reverse=True):
        heapq.heapreplace(ends, ends[0] + one)
    return max(ends)


@dataclass(frozen=True)
class Price:
    """Of one device-hour."""

    amount: float
    currency: str

    @classmethod
    def parse(cls, text: str) -> "Price":
        """`2.5/h`, `2.5 EUR/h`, `$2.5/h`. Raises ConfigError."""
        found = re.fullmatch(
            r"\s*([^\d\s.,/-]*)\s*(\d+(?:\.\d+)?)\s*([^\d\s.,/-]*)\s*(?:/\s*h(?:our)?)?\s*", text
        )
        if found is None or (found[1] and found[3]):
            raise ConfigError(
                f"--price {text!r}: expected what one device costs per hour, like 2.5/h or "
                "'2.5 EUR/h'"
            )
        return cls(float(found[2]), found[1] or found[3])

    def of(self, device_hours: float) -> str:
        """What so many device-hours cost, in words."""
        return f"{self.amount * device_hours:,.2f} {self.currency}".rstrip()
