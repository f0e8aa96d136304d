"""The whole state of a run as one checkpoint: networks, their momentum, and what others keep
beside them."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from rml_trainers.checkpoint.folder import Checkpoint, CheckpointHeader
from rml_trainers.scoring.score import Evaluation
from rml_trainers.students.learners import Learners
from rml_trainers.students.named_tensors import Stateful, load_numbered, numbered, under


def take_snapshot(
    header: CheckpointHeader,
    learners: Learners,
    optimiser: Stateful,
    stateful: Mapping[str, Stateful],
    evaluations: tuple[Evaluation, ...],
) -> Checkpoint:
    """The state as it is now. It shares memory with the run: write it before the next step."""
    return Checkpoint(
        header=header,
        students=numbered(learners.students),
        teachers=numbered(learners.teachers),
        optimiser=optimiser.tensors(),
        extras=tensors_of(stateful),
        evaluations=evaluations,
    )


def give_back(
    checkpoint: Checkpoint,
    learners: Learners,
    optimiser: Stateful,
    stateful: Mapping[str, Stateful],
) -> None:
    """Take up the state of a checkpoint; header and evaluations are left to the caller."""
    load_numbered(learners.students, checkpoint.students)
    load_numbered(learners.teachers, checkpoint.teachers)
    optimiser.load_tensors(checkpoint.optimiser)
    give_tensors_back(stateful, checkpoint.extras, learners.device)


def with_scores_only(checkpoint: Checkpoint) -> Checkpoint:
    """The same without what others keep, apart from the chosen evaluation."""
    extras = {
        name: tensor for name, tensor in checkpoint.extras.items() if name.startswith("moment/")
    }
    return replace(checkpoint, extras=extras)


def tensors_of(stateful: Mapping[str, Stateful]) -> dict[str, Tensor]:
    """Tensors of all stateful objects as `<object>/<name>`."""
    return {
        f"{owner}/{name}": tensor
        for owner, kept in stateful.items()
        for name, tensor in kept.tensors().items()
    }


def give_tensors_back(
    stateful: Mapping[str, Stateful], extras: Mapping[str, Tensor], device: torch.device
) -> None:
    """Give every object its tensors back; one of which there are none stays as it was built."""
    for owner, kept in stateful.items():
        if own := under(extras, f"{owner}/"):
            kept.load_tensors({name: tensor.to(device) for name, tensor in own.items()})
