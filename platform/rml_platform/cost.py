"""How long a study will still take, as far as its own runs tell. Nothing is guessed from the size of a network."""

from collections.abc import Sequence
from dataclasses import dataclass

from rml_platform.machine import Machine
from rml_platform.study_file import ResourcesConfig


@dataclass(frozen=True, kw_only=True)
class RunCost:
    """One run of the study, as its folder knows it."""

    kind: str
    """Runs of one kind take about equally long per step: the method's name."""
    steps_left: int
    steps_done: int = 0
    seconds_spent: float = 0.0
    """Wall time of the steps done, evaluations and checkpoints included."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What is left to do."""

    hours: float
    """Run-hours of the runs whose kind has been seen before."""
    num_unknown: int
    """Runs left of which no run of the same kind has been seen."""


def estimate(runs: Sequence[RunCost]) -> Estimate:
    """Seconds per step of each kind, measured over its runs so far, times the steps that are left."""
    steps: dict[str, int] = {}
    seconds: dict[str, float] = {}
    for run in runs:
        if run.steps_done and run.seconds_spent > 0:
            steps[run.kind] = steps.get(run.kind, 0) + run.steps_done
            seconds[run.kind] = seconds.get(run.kind, 0.0) + run.seconds_spent
    left = [run for run in runs if run.steps_left]
    known = [run for run in left if run.kind in steps]
    hours = sum(run.steps_left * seconds[run.kind] / steps[run.kind] for run in known) / 3600
    return Estimate(hours=hours, num_unknown=len(left) - len(known))


def runs_at_once(resources: ResourcesConfig, machine: Machine) -> int:
    """How many runs a machine holds at the same time (at least one)."""
    by_cores = int(machine.cores // (resources.workers * resources.cpus_per_worker))
    gpus = resources.workers * resources.gpus(machine.gpus)
    return max(1, min(by_cores, int(machine.gpus // gpus)) if gpus else by_cores)
