"""A step in micro-batches, one forward and backward each: student by student, and piece by piece of
the images.

A micro-batch's activations are freed before the next one's are made. Gradients add up in the
parameters. What the losses are divided by is known beforehand for the whole batch, so that the
micro-batches together are the step in one piece.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


@dataclass(frozen=True)
class MicroBatch:
    """Some of the students on some of the images."""

    students: tuple[int, ...]
    """Numbers from 0."""
    index: int = 0
    num_pieces: int = 1
    """The images are cut into this many pieces of equal size; this is number `index`, from 0."""

    def of(self, images: Tensor) -> Tensor:
        """This piece of a tensor whose first dimension counts images (or of several maps laid
        behind one another)."""
        return images[self.slice(len(images))]

    def slice(self, num_images: int) -> slice:
        """Numbers of this piece's images."""
        size = num_images // self.num_pieces
        assert size * self.num_pieces == num_images, "checked by `check_workers`"
        return slice(self.index * size, (self.index + 1) * size)


class Learnt(NamedTuple):
    """What a step's losses came to."""

    loss: Tensor
    """Scalar whose `backward()` brings every gradient that is not in the parameters yet: with
    several micro-batches none."""
    scalars: dict[str, Tensor]
    """Detached, to be reported."""


LossOf = Callable[[MicroBatch], tuple[Tensor, Mapping[str, Tensor]]]
"""The loss of a micro-batch, with gradient, and what to report of it; both are summands of the
whole step's."""


def learn_micro_batches(
    micro_batches: Sequence[MicroBatch],
    loss_of: LossOf,
    without_exchange: Callable[[], contextlib.AbstractContextManager[object]],
) -> Learnt:
    """The losses of a step, micro-batch by micro-batch; gradients must have been cleared before.

    A single micro-batch leaves its backward pass to the caller. Of several each has it here, and
    workers exchange gradients in the last micro-batch only.
    """
    learnt = []
    for micro_batch in micro_batches:
        last = micro_batch.index == micro_batch.num_pieces - 1
        with contextlib.nullcontext() if last else without_exchange():
            loss, scalars = loss_of(micro_batch)
            if len(micro_batches) > 1:
                loss.backward()  # type: ignore[no-untyped-call]
        learnt.append(Learnt(loss, {name: value.detach() for name, value in scalars.items()}))
    return learnt[0] if len(learnt) == 1 else _summed(learnt)


def _summed(pieces: Sequence[Learnt]) -> Learnt:
    """The whole from micro-batches whose gradients are in the parameters."""
    scalars: dict[str, Tensor] = {}
    for piece in pieces:
        for name, value in piece.scalars.items():
            scalars[name] = scalars[name] + value if name in scalars else value
    return Learnt(
        torch.stack([piece.loss.detach() for piece in pieces]).sum().requires_grad_(), scalars
    )
