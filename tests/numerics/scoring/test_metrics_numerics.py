"""Confusion matrix and IoU against loops over pixels."""

import numpy as np
import pytest
import torch

from rml_trainers.scoring.metrics import confusion_matrix, iou_by_class, mean_iou, pixel_accuracy

K = 5


@pytest.fixture
def maps() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    truth = rng.integers(0, K - 1, (3, 8, 9))
    predicted = rng.integers(0, K - 1, (3, 8, 9))
    truth[rng.random(truth.shape) < 0.2] = 255
    predicted[0, 0, 0] = 255
    return predicted, truth


def test_confusion_counts_truth_by_row_and_leaves_ignored_pixels_out(
    maps: tuple[np.ndarray, np.ndarray],
) -> None:
    predicted, truth = maps
    expected = np.zeros((K, K), dtype=np.int64)
    for p, t in zip(predicted.ravel(), truth.ravel(), strict=True):
        if t != 255 and p != 255:
            expected[t, p] += 1
    counts = confusion_matrix(
        torch.from_numpy(predicted), torch.from_numpy(truth.astype(np.uint8)), K
    )
    np.testing.assert_array_equal(counts.numpy(), expected)


def test_iou_is_intersection_over_union_and_absent_classes_do_not_count(
    maps: tuple[np.ndarray, np.ndarray],
) -> None:
    predicted, truth = maps
    valid = (truth != 255) & (predicted != 255)
    expected = []
    for k in range(K):
        is_p = (predicted == k) & valid
        is_t = (truth == k) & valid
        union = (is_p | is_t).sum()
        expected.append((is_p & is_t).sum() / union if union else float("nan"))
    counts = confusion_matrix(torch.from_numpy(predicted), torch.from_numpy(truth), K).numpy()
    np.testing.assert_allclose(iou_by_class(counts), expected)
    assert np.isnan(expected[K - 1]), "class 4 occurs nowhere in this case"
    assert mean_iou(counts) == pytest.approx(np.mean(expected[: K - 1]))
    assert pixel_accuracy(counts) == pytest.approx((predicted == truth)[valid].mean())


def test_no_valid_pixel_gives_nan_not_an_error() -> None:
    assert np.isnan(mean_iou(np.zeros((K, K), dtype=np.int64)))
