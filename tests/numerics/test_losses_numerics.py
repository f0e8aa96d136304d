"""Cross entropies against slow, independent NumPy references."""

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch

from rml_trainers.losses import hard_cross_entropy, log_softmax, soft_cross_entropy

B, K, H, W = 2, 5, 3, 4


def _logits(seed: int) -> npt.NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=(B, K, H, W)) * 3


def _probability(logits: npt.NDArray[np.float64], b: int, y: int, x: int) -> list[float]:
    top = max(logits[b, k, y, x] for k in range(K))
    weights = [math.exp(logits[b, k, y, x] - top) for k in range(K)]
    return [weight / sum(weights) for weight in weights]


@pytest.mark.parametrize("share_ignored", [0.0, 0.4])
def test_hard_cross_entropy_is_the_mean_over_valid_pixels(share_ignored: float) -> None:
    rng = np.random.default_rng(1)
    logits, label = _logits(0), rng.integers(0, K, size=(B, H, W))
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
    logits, valid = _logits(0), rng.random((B, H, W)) < 0.6
    target = rng.dirichlet(np.ones(K), size=(B, H, W)).transpose(0, 3, 1, 2)
    expected = []
    for b, y, x in zip(*np.nonzero(valid), strict=True):
        p = _probability(logits, b, y, x)
        expected.append(-sum(target[b, k, y, x] * math.log(p[k]) for k in range(K)))
    loss = soft_cross_entropy(
        log_softmax(torch.from_numpy(logits)), torch.from_numpy(target.copy()).float(), torch.from_numpy(valid)
    )
    assert float(loss) == pytest.approx(sum(expected) / len(expected), rel=1e-5)


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
