"""A step in micro_batches: which images each takes, and how their losses and gradients add up."""

import contextlib
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from rml_trainers.students.micro_batches import MicroBatch, learn_micro_batches


def test_shares_are_consecutive_equal_and_cover_the_batch() -> None:
    images = torch.arange(6)
    shares = [MicroBatch((0,), index, 3).of(images).tolist() for index in range(3)]
    assert shares == [[0, 1], [2, 3], [4, 5]]
    assert torch.equal(MicroBatch((0, 1)).of(images), images)
    with pytest.raises(AssertionError):
        MicroBatch((0,), 0, 4).of(images)


def learnt(num_pieces: int) -> tuple[Tensor, Tensor, list[bool]]:
    """Loss, gradient, and whether workers may exchange, of Σ x² over four values in as many
    micro_batches."""
    parameter = torch.tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)
    exchange = True
    seen: list[bool] = []

    @contextlib.contextmanager
    def alone() -> Iterator[None]:
        nonlocal exchange
        exchange = False
        yield
        exchange = True

    def loss_of(micro_batch: MicroBatch) -> tuple[Tensor, dict[str, Tensor]]:
        seen.append(exchange)
        loss = micro_batch.of(parameter).square().sum()
        return loss, {"loss": loss, f"share_{micro_batch.index}": loss}

    result = learn_micro_batches(
        [MicroBatch((0,), i, num_pieces) for i in range(num_pieces)], loss_of, alone
    )
    assert not any(value.requires_grad for value in result.scalars.values())
    assert len(result.scalars) == 1 + num_pieces and float(result.scalars["loss"]) == float(
        result.loss.detach()
    )
    result.loss.backward()  # type: ignore[no-untyped-call]
    assert parameter.grad is not None
    return result.loss.detach(), parameter.grad, seen


@pytest.mark.parametrize("num_pieces", [1, 2, 4])
def test_micro_batches_add_up_and_exchange_once(num_pieces: int) -> None:
    loss, gradient, exchange = learnt(num_pieces)
    assert float(loss) == 30
    assert gradient.tolist() == [2, 4, 6, 8]
    assert exchange == [False] * (num_pieces - 1) + [True]
