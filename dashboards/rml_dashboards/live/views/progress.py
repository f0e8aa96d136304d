"""How far runs are: counts per state, steps, and run time left."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rml_dashboards.contract.planned import PlannedRun, StudyPlan
from rml_dashboards.live.reading.run_status import RunStatus
from rml_dashboards.live.reading.watch import Snapshot

STATES = ("done", "running", "waiting", "failed", "cancelled", "cut_off", "new")
LEFT = frozenset({"running", "waiting", "new", "cut_off"})
"""States whose runs still have something to do; failed and cancelled ones wait for a person."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How fast the runs of a study go."""

    seconds_per_step: Mapping[str, float]
    """By method, evaluations and checkpoints included, over all of its runs so far."""
    begins: Mapping[str, int]
    """Step at which a run begins when what it shares with runs before it is trained once."""
    at_once: int
    """Runs at work now."""


@dataclass(kw_only=True)
class Progress:
    """Where a set of runs stands."""

    counts: Counter[str] = field(default_factory=Counter)
    steps_done: int = 0
    steps: int = 0
    seconds_left: float = 0.0
    """Run time left, as if the runs followed each other."""
    num_unknown: int = 0
    """Runs left of whose method none has trained yet."""

    def as_json(self, seconds_until_done: float | None) -> dict[str, Any]:
        """`eta_seconds` is None where nothing runs or nobody knows."""
        return {
            "counts": {state: self.counts[state] for state in STATES if self.counts[state]},
            "runs": sum(self.counts.values()),
            "fraction": self.steps_done / self.steps if self.steps else 0.0,
            "left_seconds": round(self.seconds_left, 1),
            "unknown": self.num_unknown,
            "eta_seconds": None if seconds_until_done is None else round(seconds_until_done, 1),
        }


def pace_of(plan: StudyPlan, snapshot: Snapshot) -> Pace:
    """Pace of a study, measured over its runs."""
    steps = Counter[str]()
    seconds = defaultdict[str, float](float)
    at_once = 0
    for run in plan.runs:
        status = snapshot.statuses.get(run.run_id)
        if status is not None:
            at_once += status.state == "running"
            own = status.seconds_of_a_step
            if own is not None:
                made = status.step - status.first_step
                steps[run.method] += made
                seconds[run.method] += made * own
    return Pace(
        seconds_per_step={method: seconds[method] / steps[method] for method in steps},
        begins=_begins(plan.runs),
        at_once=at_once,
    )


def progress_of(runs: Iterable[PlannedRun], snapshot: Snapshot, pace: Pace) -> Progress:
    """Where runs stand, each counted once."""
    progress = Progress()
    for run in runs:
        _count(progress, run, snapshot.status(run.run_id), pace)
    return progress


def _count(progress: Progress, run: PlannedRun, status: RunStatus, pace: Pace) -> None:
    total = run.stages[-1].last_step if run.stages else status.num_steps
    progress.counts[status.state] += 1
    progress.steps += total
    progress.steps_done += total if status.state == "done" else min(status.step, total)
    if status.state not in LEFT:
        return
    left = seconds_left(run, status, pace)
    if left is None:
        progress.num_unknown += 1
    else:
        progress.seconds_left += left


def seconds_left(run: PlannedRun, status: RunStatus, pace: Pace) -> float | None:
    """Run time that a run has before it, by its own pace or by that of its method; None where no
    run of its method has trained."""
    rate = pace.seconds_per_step.get(run.method)
    own = status.seconds_of_a_step
    if status.state == "running" and own is not None:
        rate = own
    if rate is None:
        return None
    total = run.stages[-1].last_step if run.stages else status.num_steps
    return rate * max(0, total - max(status.step, pace.begins[run.run_id]))


def _begins(runs: Sequence[PlannedRun]) -> dict[str, int]:
    made: set[str | None] = set()
    begins = {}
    for run in runs:
        own = [stage for stage in run.stages if stage.hash is not None]
        total = run.stages[-1].last_step if run.stages else 0
        shared = (s.last_step for s in own if s.hash in made and s.last_step < total)
        begins[run.run_id] = max(shared, default=0)
        made.update(stage.hash for stage in own)
    return begins
