"""Device-hours that runs may take together, and what counts against them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from rml_platform.planning.plan_file.written_plan import WrittenPlan
from rml_platform.run.run_folder import RunRecord


@dataclass(frozen=True, kw_only=True)
class Limit:
    """Device-hours that some runs may take together."""

    name: str
    """Where it stands, as a person knows it."""
    hours: float
    run_ids: Collection[str]
    of_launch: bool
    """Only what this launch spends counts; otherwise all that the runs have ever taken."""


def limits_of(plans: Sequence[WrittenPlan], max_gpu_hours: float | None) -> list[Limit]:
    """The limits of a launch: its own, those of its studies, and those of their rows."""
    limits = []
    if max_gpu_hours is not None:
        every = {run.run_id for plan in plans for run in plan.runs}
        limits.append(
            Limit(name="--max-gpu-hours", hours=max_gpu_hours, run_ids=every, of_launch=True)
        )
    for plan in plans:
        if plan.max_gpu_hours is not None:
            runs = {run.run_id for run in plan.runs}
            name = f"max_gpu_hours of {plan.name}"
            limits.append(Limit(name=name, hours=plan.max_gpu_hours, run_ids=runs, of_launch=False))
        for row in plan.rows:
            if row.max_gpu_hours is not None:
                runs = {r.run_id for r in plan.runs if any(c.row == row.label for c in r.cells)}
                name = f"max_gpu_hours of row {row.label!r}"
                limits.append(
                    Limit(name=name, hours=row.max_gpu_hours, run_ids=runs, of_launch=False)
                )
    return limits


@dataclass(slots=True)
class Taken:
    """Seconds that a run has taken, as its records have told one after the other."""

    in_all: float = 0.0
    by_launch: float = 0.0
    """Those of this launch."""
    told: float = 0.0
    """By the last record. Where a heartbeat was lost it begins again at zero."""

    def add(self, record: RunRecord, *, is_own: bool) -> None:
        """The record has changed; `is_own`: by this launch."""
        teller = record.result or record.heartbeat
        if teller is None:
            return
        now = teller.seconds
        made = now - self.told if now >= self.told else now
        self.told = now
        self.in_all += made
        self.by_launch += made if is_own else 0.0


class Ledger:
    """Device-hours that count against limits, kept up by what changes: with thousands of runs they
    are not added up again for every run that waits."""

    def __init__(self, limits: Sequence[Limit]) -> None:
        self._of_run: dict[str, list[int]] = {}
        for number, limit in enumerate(limits):
            for run_id in limit.run_ids:
                self._of_run.setdefault(run_id, []).append(number)
        self._limits = limits
        self._sums = [0.0] * len(limits)
        self._entered: dict[str, tuple[float, float]] = {}

    def enter(self, run_id: str, hours: float, of_launch: float) -> None:
        """What a run has taken by now, in all and in this launch."""
        before, before_of_launch = self._entered.get(run_id, (0.0, 0.0))
        self._entered[run_id] = (hours, of_launch)
        for number in self._of_run.get(run_id, ()):
            is_of_launch = self._limits[number].of_launch
            self._sums[number] += of_launch - before_of_launch if is_of_launch else hours - before

    def spent(self, limit: Limit) -> float:
        """By the runs of a limit."""
        return self._sums[self._limits.index(limit)]
