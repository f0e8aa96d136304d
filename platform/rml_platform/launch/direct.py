"""`execution: direct` and `rml run`: the trainer in this very process, without Ray Train."""

from collections.abc import Callable

from rml_platform.attempt import Outcome, Place, TrainerLike
from rml_platform.execute import execute
from rml_platform.run_task import RunTask


def run_direct(
    task: RunTask,
    trainer_class: Callable[..., TrainerLike] | None = None,
) -> Outcome:
    """One run on one device. The actor of a scheduler sees its own device only, so the first visible one is right."""
    return execute(task, Place(writer=task.launch_id), trainer_class)
