"""Stages of a run, where a step lies in them, and what it is time for after it."""

from dataclasses import dataclass

from rml_trainers.config import RunConfig


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Consecutive steps under one learning-rate schedule."""

    index: int
    """0 is the supervised warm-up; 1, 2, … are rounds of the method."""
    first_step: int
    num_steps: int
    warm_up: bool

    @property
    def last_step(self) -> int:
        """Step count at which the stage is complete."""
        return self.first_step + self.num_steps


def stages_of(config: RunConfig) -> tuple[Stage, ...]:
    """The stages of a run, in order.

    A method that uses no unlabelled image (`supervised`) has one stage as long as all together.

    A single schedule over the whole length is the stronger baseline: restarting it would only
    lengthen the time at a high learning rate.
    """
    schedule = config.schedule
    if not config.method.uses_unlabelled:
        return (Stage(index=0, first_step=0, num_steps=schedule.total_steps, warm_up=True),)
    stages = []
    first = 0
    for index, num_steps in enumerate((schedule.warm_up_steps, *schedule.stage_steps)):
        if num_steps > 0:
            stages.append(
                Stage(index=index, first_step=first, num_steps=num_steps, warm_up=index == 0)
            )
        first += num_steps
    return tuple(stages)


def stage_at(stages: tuple[Stage, ...], step: int) -> Stage:
    """Stage that the next step belongs to; `step` counts completed steps and is below the total."""
    return next(stage for stage in stages if step < stage.last_step)


@dataclass(frozen=True, kw_only=True)
class Due:
    """What it is time for after a step. The end of a stage is time for everything."""

    log: bool
    score: bool
    save: bool
    confusions: bool
    """Report what was counted since the last time: at every evaluation if there are extra ones,
    else at every log."""


def due_after(step: int, stage: Stage, config: RunConfig) -> Due:
    """What follows once `step` steps of the run are complete, the last of them in this stage."""
    ends = step == stage.last_step
    done = step - stage.first_step
    every_steps = config.evaluation.every_steps
    score = ends or (every_steps > 0 and done % every_steps == 0)
    return Due(
        log=score or done % config.runtime.log_every_steps == 0,
        score=score,
        save=ends or done % config.runtime.checkpoint_every_steps == 0,
        confusions=score or every_steps == 0,
    )
