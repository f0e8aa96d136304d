"""Losses over pixels against slow, independent NumPy references."""

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch

from rml_trainers.students import losses
from rml_trainers.students.losses import (
    confident_fraction,
    hard_cross_entropy,
    log_softmax,
    soft_cross_entropy,
    squared_error,
)

B = 2
K = 5
H = 3
W = 4


def _logits(seed: int) -> npt.NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=(B, K, H, W)) * 3


def _probability(logits: npt.NDArray[np.float64], b: int, y: int, x: int) -> list[float]:
    top = max(logits[b, k, y, x] for k in range(K))
    weights = [math.exp(logits[b, k, y, x] - top) for k in range(K)]
    return [weight / sum(weights) for weight in weights]


@pytest.mark.parametrize("share_ignored", [0.0, 0.4])
def test_hard_cross_entropy_is_the_mean_over_valid_pixels(share_ignored: float) -> None:
    rng = np.random.default_rng(1)
    logits = _logits(0)
    label = rng.integers(0, K, size=(B, H, W))
    label[rng.random(label.shape) < share_ignored] = 255
    expected = [
        -math.log(_probability(logits, b, y, x)[label[b, y, x]])
        for b in range(B)
        for y in range(H)
        for x in range(W)
        if label[b, y, x] != 255
    ]
    loss = hard_cross_entropy(log_softmax(torch.from_numpy(logits)), torch.from_numpy(label))
    assert float(loss) == pytest.approx(sum(expected) / len(expected), rel=1e-5)


def test_soft_cross_entropy_is_the_mean_over_valid_pixels() -> None:
    rng = np.random.default_rng(2)
    logits = _logits(0)
    valid = rng.random((B, H, W)) < 0.6
    target = rng.dirichlet(np.ones(K), size=(B, H, W)).transpose(0, 3, 1, 2)
    expected = []
    for b, y, x in zip(*np.nonzero(valid), strict=True):
        p = _probability(logits, b, y, x)
        expected.append(-sum(target[b, k, y, x] * math.log(p[k]) for k in range(K)))
    loss = soft_cross_entropy(
        log_softmax(torch.from_numpy(logits)),
        torch.from_numpy(target.copy()).float(),
        torch.from_numpy(valid),
    )
    assert float(loss) == pytest.approx(sum(expected) / len(expected), rel=1e-5)


def test_squared_error_sums_over_classes_and_is_the_mean_over_valid_pixels() -> None:
    rng = np.random.default_rng(3)
    prob, target = (
        rng.dirichlet(np.ones(K), size=(B, H, W)).transpose(0, 3, 1, 2) for _ in range(2)
    )
    valid = rng.random((B, H, W)) < 0.6
    pixels = list(zip(*np.nonzero(valid), strict=True))
    expected = [
        sum((prob[b, k, y, x] - target[b, k, y, x]) ** 2 for k in range(K)) for b, y, x in pixels
    ]
    loss = squared_error(
        torch.from_numpy(prob.copy()), torch.from_numpy(target.copy()), torch.from_numpy(valid)
    )
    assert float(loss) == pytest.approx(sum(expected) / len(expected), rel=1e-6)


def test_confident_fraction_counts_valid_pixels_and_includes_the_threshold() -> None:
    confidence = torch.tensor([[[0.5, 0.9, 0.7], [0.8, 0.95, 0.2]]])
    valid = torch.tensor([[[True, True, True], [True, False, True]]])
    assert float(
        confident_fraction(confidence, valid, confidence[0, 0, 2].item())
    ) == pytest.approx(3 / 5)
    assert float(confident_fraction(confidence, torch.zeros_like(valid), 0.5)) == 0.0


def test_workers_with_unequal_shares_average_to_the_loss_of_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The collective is replaced by what it gives: the total count over the number of workers."""
    rng = np.random.default_rng(4)
    prob, target = (
        torch.from_numpy(rng.dirichlet(np.ones(K), size=(B, H, W)).transpose(0, 3, 1, 2))
        for _ in range(2)
    )
    valid = torch.from_numpy(rng.random((B, H, W)) < np.array((0.2, 0.9))[:, None, None])

    def weighted(part: slice) -> torch.Tensor:
        share = confident_fraction(prob[part].amax(dim=1), valid[part], 0.5)
        return share * squared_error(prob[part], target[part], valid[part])

    together = weighted(slice(None))
    counts = iter((0.0,))
    total = float(valid.sum())
    confident = float((valid & (prob.amax(dim=1) >= 0.5)).sum())
    monkeypatch.setattr(
        losses, "mean_over_workers", lambda count: torch.full_like(count, next(counts) / B)
    )
    apart = []
    for worker in range(B):
        counts = iter((confident, total, total))
        apart.append(weighted(slice(worker, worker + 1)))
    assert float(torch.stack(apart).mean()) == pytest.approx(float(together), rel=1e-6)


def test_a_batch_without_valid_pixel_has_loss_zero_and_no_gradient_noise() -> None:
    logits = torch.randn(B, K, H, W, requires_grad=True)
    label = torch.full((B, H, W), 255)
    loss = hard_cross_entropy(log_softmax(logits), label)
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(loss.detach()) == 0.0
    assert logits.grad is not None and not logits.grad.any()


def test_losses_are_float32_for_bfloat16_logits() -> None:
    logits = torch.randn(B, K, H, W, dtype=torch.bfloat16)
    assert log_softmax(logits).dtype == torch.float32


@pytest.mark.parametrize("num_classes", [5, 16, 19])
def test_the_layout_in_memory_does_not_change_a_loss(num_classes: int) -> None:
    """Channels last with many classes is computed in another way; losses, probabilities and
    gradients are the same."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(2, num_classes, 6, 7, generator=generator)
    label = torch.randint(0, num_classes, (2, 6, 7), generator=generator)
    label[:, 0] = 255
    results = []
    for layout in (torch.channels_last, torch.contiguous_format):
        maps = logits.clone(memory_format=layout).requires_grad_()
        log_prob = log_softmax(maps)
        loss = hard_cross_entropy(log_prob, label)
        results.append((log_prob.detach(), loss.detach(), torch.autograd.grad(loss, maps)[0]))
    for last, first in zip(*results, strict=True):
        torch.testing.assert_close(last, first, rtol=1e-4, atol=1e-6)
    weights = np.exp(logits.detach().numpy())
    expected = np.log(weights / weights.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(results[0][0].numpy(), expected, rtol=1e-4, atol=1e-5)
