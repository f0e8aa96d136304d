"""How long a study will still take: as its own runs measured, or, before there are any, by the rate
its file states.

Knows neither torch nor configurations: `workload.py` counts what a run has to do, and a written
plan keeps the count.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rml_dashboards.contract.planned import PlannedStage
from rml_platform.planning.machine import Machine
from rml_platform.study.study_file import ResourcesConfig


@dataclass(frozen=True, kw_only=True)
class StageCost(PlannedStage):
    """One stage of a run, with what it costs."""

    stated_seconds: float | None
    """Device-seconds of the stage by the rate that the study states; None where it states none."""


@dataclass(frozen=True, kw_only=True)
class RunCost:
    """One run of the study, as its folder knows it."""

    kind: str
    """Runs of one kind take about equally long per step: the method's name."""
    steps_left: int
    steps_done: int = 0
    seconds_spent: float = 0.0
    """Wall time of the steps done, evaluations and checkpoints included."""
    stated_seconds_left: float | None = None
    """Device-seconds of the steps left by the rate that the study states."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What is left to do."""

    hours: float
    """Run-hours of the runs whose kind has been seen before."""
    num_unknown: int
    """Runs left of which neither a run of the same kind has been seen nor a rate is stated."""
    stated_hours: float = 0.0
    """Device-hours, by the stated rate, of the runs whose kind has not been seen."""
    num_stated: int = 0
    """Number of those runs."""


def estimate(runs: Sequence[RunCost]) -> Estimate:
    """Seconds per step of each kind, measured over its runs so far, times the steps that are
    left."""
    steps: dict[str, int] = {}
    seconds: dict[str, float] = {}
    for run in runs:
        if run.steps_done and run.seconds_spent > 0:
            steps[run.kind] = steps.get(run.kind, 0) + run.steps_done
            seconds[run.kind] = seconds.get(run.kind, 0.0) + run.seconds_spent
    left = [run for run in runs if run.steps_left]
    hours = (
        sum(
            run.steps_left * seconds[run.kind] / steps[run.kind]
            for run in left
            if run.kind in steps
        )
        / 3600
    )
    unseen = [run for run in left if run.kind not in steps]
    stated = [run.stated_seconds_left for run in unseen if run.stated_seconds_left is not None]
    return Estimate(
        hours=hours,
        num_unknown=len(unseen) - len(stated),
        stated_hours=sum(stated) / 3600,
        num_stated=len(stated),
    )


def first_steps(runs: Iterable[Sequence[StageCost]]) -> tuple[int, ...]:
    """Step that each run, given by its stages, has to begin at when what it has in common with
    those before it is trained once."""
    made: set[str | None] = set()
    first = []
    for stages in runs:
        own = [stage for stage in stages if stage.hash is not None]
        total = stages[-1].last_step
        shared = (s.last_step for s in own if s.hash in made and s.last_step < total)
        first.append(max(shared, default=0))
        made.update(stage.hash for stage in own)
    return tuple(first)


def stated_seconds_left(stages: Sequence[StageCost], first_step: int = 0) -> float | None:
    """Device-seconds of a run from a step on, by the study's rate; None where it states none for
    one of the run's networks."""
    seconds = 0.0
    begin = 0
    for stage in stages:
        if stage.stated_seconds is None:
            return None
        steps_left = max(0, stage.last_step - max(begin, first_step))
        seconds += stage.stated_seconds * steps_left / (stage.last_step - begin)
        begin = stage.last_step
    return seconds


def runs_at_once(resources: ResourcesConfig, machine: Machine) -> int:
    """How many runs a machine holds at the same time (at least one)."""
    by_cores = int(machine.cores // (resources.workers * resources.cpus_per_worker))
    gpus = resources.workers * resources.gpus(machine.gpus)
    return max(1, min(by_cores, int(machine.gpus // gpus)) if gpus else by_cores)
