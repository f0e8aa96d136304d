"""Boundary IoU against its definition, pixel by pixel."""

import numpy as np
import numpy.typing as npt
import pytest

from rml_trainers.scoring.boundary import (
    boundary_counts,
    boundary_iou,
    boundary_width,
    on_boundary,
)

K = 3
Mask = npt.NDArray[np.uint8]


def eroded(mask: npt.NDArray[np.bool_], width: int) -> npt.NDArray[np.bool_]:
    """A mask eroded `width` times by a 3×3 square, nothing lying outside the image (Cheng et al.,
    their `mask_to_boundary`)."""
    for _ in range(width):
        padded = np.pad(mask, 1, constant_values=False)
        height, breadth = mask.shape
        smaller = np.ones_like(mask)
        for down in range(3):
            for across in range(3):
                smaller &= padded[down : down + height, across : across + breadth]
        mask = smaller
    return mask


def reference(predicted: Mask, truth: Mask, width: int) -> list[float]:
    scores = []
    for k in range(K):
        own = truth == k
        found = (predicted == k) & (truth != 255)
        own = own & ~eroded(own, width)
        found = found & ~eroded(found, width)
        union = (own | found).sum()
        scores.append((own & found).sum() / union if union else float("nan"))
    return scores


def blocks(seed: int, height: int, width: int, classes: tuple[int, ...]) -> Mask:
    """Patches of classes, some of them thin."""
    rng = np.random.default_rng(seed)
    cells = rng.choice(np.array(classes, np.uint8), (7, 9))
    rows = np.sort(rng.integers(0, 7, height))
    columns = np.sort(rng.integers(0, 9, width))
    return cells[rows][:, columns]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("height", "width", "ratio"), [(40, 60, 0.02), (64, 30, 0.05), (9, 9, 0.5)]
)
def test_every_class_scores_as_its_own_mask_does(
    seed: int, height: int, width: int, ratio: float
) -> None:
    truth = blocks(seed, height, width, (0, 1, 2, 255))
    predicted = blocks(seed + 100, height, width, (0, 1, 2))
    predicted = np.where(np.random.default_rng(seed).random(truth.shape) < 0.7, truth, predicted)
    predicted = np.where(predicted == 255, np.uint8(1), predicted)
    found = boundary_iou(boundary_counts(predicted, truth, K, ratio))
    band = max(1, round(ratio * (height**2 + width**2) ** 0.5))
    np.testing.assert_allclose(found, reference(predicted, truth, band), equal_nan=True)


def test_a_class_that_occurs_nowhere_is_unscored_and_a_perfect_prediction_scores_one() -> None:
    truth = blocks(3, 40, 60, (0, 2))
    found = boundary_iou(boundary_counts(truth, truth, K))
    np.testing.assert_array_equal(found, [1, np.nan, 1])


def test_the_middle_of_a_large_region_does_not_count() -> None:
    """IoU hardly sees a wrong border; boundary IoU does, and a wrong middle not at all."""
    truth = np.zeros((100, 100), np.uint8)
    truth[20:80, 20:80] = 1
    hole = truth.copy()
    hole[45:55, 45:55] = 2
    counts = boundary_counts(hole, truth, K)
    assert boundary_iou(counts)[0] == 1
    assert boundary_counts(truth, truth, K).union[1] == on_boundary(truth, 3)[20:80, 20:80].sum()


def test_the_band_is_two_per_cent_of_the_diagonal_and_at_least_a_pixel() -> None:
    assert boundary_width((1024, 2048)) == 46
    assert boundary_width((3, 4)) == 1
