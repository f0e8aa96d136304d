"""How long a study will still take: as its own runs measured, or, before there are any, by the rate
its file states.

Nothing is guessed from the size of a network: a rate says per network what a million pixels take,
and where that was measured; here they are only counted.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rml_platform.planning.machine import Machine
from rml_platform.study.study_file import CostConfig, ResourcesConfig
from rml_trainers.config import RunConfig
from rml_trainers.training.shared_stages import stage_ends
from rml_trainers.training.stages import stages_of

FORWARD = 1
LEARN = 3
"""Passes over an image that is labelled (forward) and over one that is learnt from (forward, and a
backward of two)."""


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


def first_steps(runs: Iterable[tuple[RunConfig, str, str]]) -> tuple[int, ...]:
    """Step that each run has to begin at when what it has in common with those before it is trained
    once.

    Args:
        runs: configuration, split hash and data hash of each.
    """
    made: set[str] = set()
    first = []
    for config, split_hash, data_hash in runs:
        own = stage_ends(config, split_hash=split_hash, data_hash=data_hash)
        total = config.schedule.total_steps
        first.append(max((b.step for b in own if b.hash in made and b.step < total), default=0))
        made.update(b.hash for b in own)
    return tuple(first)


def megapixel_passes(config: RunConfig, first_step: int = 0) -> dict[str, float]:
    """Million training pixels times passes of a run from a step on, by network's name.

    Every student learns from its labelled images; in the stages of the method it also learns from
    as many views of the unlabelled ones as the method makes, and those are labelled once. The
    passes over whole images at the start of a stage and in evaluations are left out: they are about
    one in a hundred.
    """
    height, width = config.geometry.crop_px
    labelled = config.batch.labelled
    unlabelled = config.batch.unlabelled
    images = 0
    for stage in stages_of(config):
        steps = max(0, stage.last_step - max(stage.first_step, first_step))
        images += steps * LEARN * labelled
        if not stage.warm_up:
            images += steps * (LEARN * strong_views(config) + FORWARD) * unlabelled
    passes: dict[str, float] = {}
    for network in config.student_networks:
        passes[network.name] = passes.get(network.name, 0.0) + images * height * width / 1e6
    return passes


def strong_views(config: RunConfig) -> int:
    """Views of an unlabelled image that a student learns from in one step: at least the weak one
    (DMT)."""
    return max(1, config.method.num_strong_views)


def stated_seconds(config: RunConfig, cost: CostConfig | None, first_step: int = 0) -> float | None:
    """Device-seconds of a run from a step on by a study's rate; None where it states none for one
    of its networks."""
    passes = megapixel_passes(config, first_step)
    if cost is None or not set(passes) <= set(cost.seconds_per_megapixel):
        return None
    return sum(amount * cost.seconds_per_megapixel[network] for network, amount in passes.items())


def runs_at_once(resources: ResourcesConfig, machine: Machine) -> int:
    """How many runs a machine holds at the same time (at least one)."""
    by_cores = int(machine.cores // (resources.workers * resources.cpus_per_worker))
    gpus = resources.workers * resources.gpus(machine.gpus)
    return max(1, min(by_cores, int(machine.gpus // gpus)) if gpus else by_cores)
