"""What a run has to do, counted from its configuration: stages, and passes over training pixels.

Nothing is guessed from the size of a network: a study's rate says per network what a million pixels
take, and where that was measured; here they are only counted.
"""

from rml_platform.planning.cost import StageCost
from rml_platform.study.study_file import CostConfig
from rml_trainers.config import RunConfig
from rml_trainers.training.shared_stages import stage_ends
from rml_trainers.training.stages import stages_of

FORWARD = 1
LEARN = 3
"""Passes over an image that is labelled (forward) and over one that is learnt from (forward, and a
backward of two)."""


def stage_costs(
    config: RunConfig, cost: CostConfig | None, *, split_hash: str, data_hash: str
) -> tuple[StageCost, ...]:
    """Every stage of a run, in order, with its cost by a study's rate.

    Every student learns from its labelled images; in the stages of the method it also learns from
    as many views of the unlabelled ones as the method makes, and those are labelled once. The
    passes over whole images at the start of a stage and in evaluations are left out: they are about
    one in a hundred.
    """
    seconds_per_pass = _seconds_per_pass(config, cost)
    ends = stage_ends(config, split_hash=split_hash, data_hash=data_hash)
    hashes = {end.step: end.history for end in ends}
    return tuple(
        StageCost(
            last_step=stage.last_step,
            hash=hashes.get(stage.last_step),
            stated_seconds=None
            if seconds_per_pass is None
            else seconds_per_pass * stage.num_steps * passes_per_step(config, stage.warm_up),
        )
        for stage in stages_of(config)
    )


def passes_per_step(config: RunConfig, warm_up: bool) -> int:
    """Passes over images that one student makes in one step of a stage."""
    passes = LEARN * config.batch.labelled
    if not warm_up:
        passes += (LEARN * strong_views(config) + FORWARD) * config.batch.unlabelled
    return passes


def strong_views(config: RunConfig) -> int:
    """Views of an unlabelled image that a student learns from in one step: at least the weak one
    (DMT)."""
    return max(1, config.method.num_strong_views)


def _seconds_per_pass(config: RunConfig, cost: CostConfig | None) -> float | None:
    """Device-seconds of one pass over one crop by all students together; None where a network has
    no rate."""
    names = [network.name for network in config.student_networks]
    if cost is None or not set(names) <= set(cost.seconds_per_megapixel):
        return None
    height, width = config.geometry.crop_px
    return height * width / 1e6 * sum(cost.seconds_per_megapixel[name] for name in names)
