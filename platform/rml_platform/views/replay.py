"""What `rml replay` does and prints: the steps in which a run met a loss that is no number, made
again in this process. Nothing is written to the run's folder."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from rml_platform.plugins import load_again
from rml_platform.run.checkpoints import CheckpointStore, SoundCheckpoint
from rml_platform.run.faults.non_finite import NonFinite, read_non_finite
from rml_platform.run.files.inputs import on_this_node
from rml_platform.run.files.temporary import temporary_folder
from rml_platform.run.run_folder import RunFolder
from rml_platform.run.task import RunTask
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.data.splitting.splits import make_split
from rml_trainers.errors import CheckpointError, ConfigError
from rml_trainers.runtime.device import choose_device
from rml_trainers.training.replay import Replay, ReplayedStep
from rml_trainers.training.reporting import MemoryReporter


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """What came of it."""

    first_step: int
    last_step: int
    found: ReplayedStep | None
    """The step in which something was no number; None where everything was finite this time."""


def replay(
    task: RunTask, on_note: Callable[[str], None], on_step: Callable[[str], None]
) -> Replayed:
    """Make the steps of a run from its last good checkpoint to where it stopped again.

    Args:
        on_note: is told where it begins, and what differs from the run.
        on_step: is told of each step, in one line.
    Raises:
        ConfigError: the run never met a loss that is no number.
        DataError, CheckpointError: what it needs is not there any more.
    """
    run = RunFolder.of(task.storage, task.run_id)
    met = read_non_finite(run)
    if met is None:
        raise ConfigError(
            f"run {task.run_id} never met a loss that is no number: nothing to replay"
        )
    load_again(task.plugins)
    with (
        on_this_node(task, on_note) as here,
        temporary_folder("rml-replay-") as scratch,
    ):
        trainer = _trainer(here, run, met, scratch, on_note)
        steps = list[ReplayedStep]()

        def tell(step: ReplayedStep) -> None:
            steps.append(step)
            on_step(line_of(step))

        first = trainer.step + 1
        was_found = trainer.steps_until(met.last_step, tell)
    return Replayed(
        first_step=first,
        last_step=met.last_step,
        found=steps[-1] if was_found and steps else None,
    )


def _trainer(
    task: RunTask, run: RunFolder, met: NonFinite, scratch: Path, on_note: Callable[[str], None]
) -> Replay:
    config = task.config
    device = choose_device(config.runtime.device, 0)
    if device.type == "cpu":
        torch.set_num_threads(task.threads(config))
    found = _begin(run, met, scratch, on_note)
    begin = found.step if found else 0
    on_note(f"from {f'the checkpoint of step {begin}' if found else 'the beginning'} on {device}")
    if met.num_workers > 1:
        on_note(f"the run had {met.num_workers} workers and is made again by one")
    data = PreparedData.open(task.prepared_path)
    split = make_split(
        data.names("train"),
        config.split,
        data_root=Path(task.data_root) if task.data_root else None,
        without_label=data.names_without_label(),
        class_pixels=data.class_pixels,
    )
    return Replay(
        config,
        data,
        split,
        device=device,
        reporter=MemoryReporter(),
        work_dir=scratch,
        resume_from=found.folder if found else None,
        micro_batches=met.micro_batches,
    )


def _begin(
    run: RunFolder, met: NonFinite, scratch: Path, on_note: Callable[[str], None]
) -> SoundCheckpoint | None:
    """The checkpoint that the run had when it stopped, None where it had none. Where that is gone,
    another one before the steps in question does: what is saved is finite.

    Raises:
        CheckpointError: there is none of before those steps any more.
    """
    if met.checkpoint is None:
        return None
    store = CheckpointStore(run.folder, "replay")
    found = store.newest_sound(scratch, on_note, lambda one: one.place == met.checkpoint)
    if found is not None:
        return found
    gone = f"the checkpoint of step {met.checkpoint_step} that the run had is not there any more"
    found = store.newest_sound(
        scratch,
        on_note,
        lambda one: one.step < met.last_step and one.place != met.checkpoint,
    )
    if found is not None:
        on_note(gone)
        return found
    later = ", ".join(str(one.step) for one in store.stored() if one.step >= met.last_step)
    there = f"a later launch has got past them (there are those of steps {later})"
    raise CheckpointError(
        f"run {run.run_id}: {gone}, and none of before step {met.last_step}, in which it met a "
        f"loss that is no number: {there if later else 'there is none to use'}. So these steps "
        "cannot be made again"
    )


def line_of(step: ReplayedStep) -> str:
    """One step in one line."""
    norms = ", ".join(f"{name} {norm:.4g}" for name, norm in step.gradient_norms.items())
    return f"step {step.step} (stage {step.stage}): loss {step.loss:.6g}; gradient norms: {norms}"


def report(replayed: Replayed) -> str:
    """What a person has to know in the end."""
    found = replayed.found
    if found is None:
        return (
            f"steps {replayed.first_step} to {replayed.last_step} were finite this time: it came "
            "of something that is not repeated here (another device or number of workers)"
        )
    scalars = "\n".join(f"  {name} {value:.6g}" for name, value in found.scalars.items())
    images = "\n".join(f"  {use}: {', '.join(names)}" for use, names in found.images.items())
    return (
        f"first not finite, in step {found.step}: {found.first_non_finite}\n"
        f"what the step reported beside its loss:\n{scalars or '  nothing'}\n"
        f"images of its batch:\n{images}"
    )
