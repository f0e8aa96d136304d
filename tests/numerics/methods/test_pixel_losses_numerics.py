"""Losses in chunks are the losses of the whole, and so is their gradient."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from rml_trainers.students.losses import (
    hard_cross_entropy,
    soft_cross_entropy,
    squared_error,
    valid_counts,
)
from rml_trainers.students.pixel_losses import images_at_once, pixel_losses

B = 5
K = 4
CELLS = (3, 4)
SIZE = (9, 14)
Loss = Callable[[Tensor, slice], Tensor]


def upsample(maps: Tensor) -> Tensor:
    return functional.interpolate(maps, size=SIZE, mode="bilinear", align_corners=True)


def case(name: str, dtype: torch.dtype) -> Loss:
    """A loss of some images' upsampled logits, given the counts of the whole batch."""
    torch.manual_seed(0)
    label = torch.randint(0, K, (B, *SIZE))
    label[torch.rand(B, *SIZE) < torch.linspace(0, 0.9, B)[:, None, None]] = 255
    target = torch.rand(B, K, *SIZE, dtype=dtype).softmax(dim=1)
    valid = label != 255
    (count,) = valid_counts(valid)
    losses: dict[str, Loss] = {
        "hard": lambda x, i: hard_cross_entropy(functional.log_softmax(x, dim=1), label[i], count),
        "soft": lambda x, i: soft_cross_entropy(
            functional.log_softmax(x, dim=1), target[i], valid[i], count
        ),
        "squared": lambda x, i: squared_error(x.softmax(dim=1), target[i], valid[i], count),
    }
    return losses[name]


def taken(loss: Loss, maps: Sequence[Tensor], chunk_mib: int, weight: float = 1.0) -> Tensor:
    def losses(part: slice, some: Sequence[Tensor]) -> list[Tensor]:
        values = [loss(upsample(x), part) for x in some]
        return [weight * torch.stack(values).sum(), *values]

    return pixel_losses(losses, maps, SIZE, chunk_mib)


@pytest.fixture(params=[1, 2, 5], ids=lambda n: f"{n} at once")
def in_chunks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "rml_trainers.students.pixel_losses.images_at_once", lambda *_: request.param
    )


@pytest.mark.parametrize("name", ["hard", "soft", "squared"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.usefixtures("in_chunks")
def test_chunks_give_the_loss_and_the_gradient_of_the_whole(
    name: str, layout: torch.memory_format
) -> None:
    loss = case(name, torch.float32)
    wanted = torch.randn(2, B, K, *CELLS)
    gradients = []
    for chunk_mib in (0, 1):
        maps = [x.clone().contiguous(memory_format=layout).requires_grad_() for x in wanted]
        values = taken(loss, maps, chunk_mib, weight=0.3)
        if chunk_mib == 0:
            torch.testing.assert_close(
                values[1:], torch.stack([loss(upsample(x), slice(0, B)) for x in wanted])
            )
            whole = values.detach()
        torch.testing.assert_close(values.detach(), whole)
        values[0].backward()  # type: ignore[no-untyped-call]
        gradients.append([x.grad for x in maps])
    for plain, chunked in zip(*gradients, strict=True):
        assert plain is not None and chunked is not None and bool(plain.any())
        # Not bit for bit on every machine: kernels treat the ends of a tensor differently, and
        # chunks end elsewhere.
        torch.testing.assert_close(chunked, plain, rtol=1e-5, atol=1e-8)


@pytest.mark.usefixtures("in_chunks")
def test_the_gradient_is_the_derivative_and_is_scaled_by_what_comes_back() -> None:
    loss = case("soft", torch.float64)
    maps = torch.randn(B, K, *CELLS, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: 3 * taken(loss, [x], chunk_mib=1)[0], (maps,))


def test_what_is_only_reported_has_no_gradient() -> None:
    loss = case("hard", torch.float32)
    maps = torch.randn(B, K, *CELLS, requires_grad=True)
    for chunk_mib in (0, 1):
        values = taken(loss, [maps], chunk_mib, weight=0.0)
        (gradient,) = torch.autograd.grad(values.sum(), maps)
        assert not gradient.any()


def test_a_chunk_holds_as_many_images_as_fit_and_at_least_one() -> None:
    logits = torch.zeros(8, 19, 32, 64)
    assert images_at_once([logits], (256, 512), 10) == 1
    assert images_at_once([logits], (256, 512), 20) == 2
    assert images_at_once([logits, logits], (256, 512), 20) == 1
    assert images_at_once([logits], (256, 512), 1) == 1
