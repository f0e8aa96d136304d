"""`execution: direct` and `rml run`: the trainer in this very process, without Ray Train."""

from collections.abc import Callable

from rml_platform.run.attempt import Outcome, TrainerLike, WorkerContext
from rml_platform.run.execute import execute
from rml_platform.run.task import RunTask


def run_direct(
    task: RunTask,
    trainer_class: Callable[..., TrainerLike] | None = None,
    node: str = "",
) -> Outcome:
    """One run on one device. The actor of a scheduler sees its own device only, so the first
    visible one is right."""
    return execute(task, WorkerContext(writer=task.launch_id, node=node), trainer_class)
