"""Prototypes and class-wise confidence (Eq. 9 to 11) against loops over images, cells and
classes."""

import math

import numpy as np
import pytest
import torch

from rml_trainers.labels.prototypes import (
    class_means,
    log_confidence,
    mean_entropy,
    move_prototypes,
    prototype_distances,
)

B = 3
D = 7
K = 4
H = 5
W = 6
rng = np.random.default_rng(0)
FEATURE = rng.normal(size=(B, D, H, W)).astype(np.float32)
LABEL = rng.integers(0, K, size=(B, H, W))
LABEL[0][LABEL[0] == 2] = 1  # class 2 is absent from image 0
LABEL[1, 0, :3] = 255
PROTOTYPES = rng.normal(size=(K, D)).astype(np.float32)


@pytest.mark.parametrize("min_cells", [1, 7, 10])
def test_class_means_average_cells_within_an_image_then_count_images(min_cells: int) -> None:
    sums, counts = class_means(torch.from_numpy(FEATURE), torch.from_numpy(LABEL), K, min_cells)
    skipped = 0
    for k in range(K):
        expected = np.zeros(D)
        images = 0
        for b in range(B):
            cells = [FEATURE[b, :, y, x] for y in range(H) for x in range(W) if LABEL[b, y, x] == k]
            if len(cells) >= min_cells:
                expected = expected + np.mean(cells, axis=0)
                images = images + 1
            else:
                skipped += 1
        assert counts[k] == images
        np.testing.assert_allclose(sums[k].numpy(), expected, rtol=1e-4, atol=1e-5)
    assert skipped > 0, "the case must exercise skipping"


def test_distance_is_euclidean_and_not_squared() -> None:
    seen = torch.ones(K, dtype=torch.bool)
    distance = prototype_distances(torch.from_numpy(FEATURE), torch.from_numpy(PROTOTYPES), seen)
    for b, k, y, x in np.ndindex(B, K, H, W):
        expected = math.sqrt(sum((FEATURE[b, d, y, x] - PROTOTYPES[k, d]) ** 2 for d in range(D)))
        assert float(distance[b, k, y, x]) == pytest.approx(expected, rel=1e-4)


def test_a_class_without_prototype_is_neutral() -> None:
    seen = torch.tensor([True, True, False, True])
    distance = prototype_distances(torch.from_numpy(FEATURE), torch.from_numpy(PROTOTYPES), seen)
    torch.testing.assert_close(distance[:, 2], distance[:, [0, 1, 3]].mean(1))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("scaling", ["euclidean", "relative"])
def test_confidence_is_eq_9(temperature: float, scaling: str) -> None:
    mixture = np.array([0.1, 0.2, 0.3, 0.4])
    distance = np.abs(rng.normal(size=(B, K, H, W))).astype(np.float32)
    log_omega = log_confidence(
        torch.from_numpy(distance),
        torch.from_numpy(np.log(mixture)).float(),
        temperature,
        "relative" if scaling == "relative" else "euclidean",
    )
    for b, y, x in np.ndindex(B, H, W):
        unit = distance[b].mean() if scaling == "relative" else 1.0
        weights = [
            mixture[k] * math.exp(-distance[b, k, y, x] / unit / temperature) for k in range(K)
        ]
        for k in range(K):
            assert math.exp(float(log_omega[b, k, y, x])) == pytest.approx(
                weights[k] / sum(weights), rel=1e-4
            )


def test_momentum_moves_present_classes_only_and_adopts_new_ones() -> None:
    prototypes = torch.from_numpy(PROTOTYPES.copy())
    seen = torch.tensor([True, True, False, False])
    sums = torch.randn(K, D)
    counts = torch.tensor([2.0, 0.0, 3.0, 0.0])
    move_prototypes(prototypes, seen, sums, counts, momentum=0.9)
    expected = 0.9 * PROTOTYPES[0] + 0.1 * sums[0].numpy() / 2
    np.testing.assert_allclose(prototypes[0].numpy(), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(prototypes[1].numpy(), PROTOTYPES[1])
    np.testing.assert_allclose(prototypes[2].numpy(), sums[2].numpy() / 3, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(prototypes[3].numpy(), PROTOTYPES[3])
    assert seen.tolist() == [True, True, True, False]


def test_entropy_spans_zero_to_one() -> None:
    uniform = torch.full((1, K, 2, 2), 1 / K).log()
    certain = torch.log_softmax(
        torch.tensor([200.0, 0, 0, 0]).view(1, K, 1, 1).expand(1, K, 2, 2), dim=1
    )
    assert float(mean_entropy(uniform)) == pytest.approx(1.0, rel=1e-5)
    assert float(mean_entropy(certain)) == pytest.approx(0.0, abs=1e-6)
