"""Confusion matrix and every score of METRICS against loops over pixels."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch

from rml_dashboards.contract.metric_keys import NETWORK
from rml_trainers.scoring.metrics import METRICS, confusion_matrix, scores_of

K = 5
NAMES = tuple("abcde")
NAN = float("nan")
Pixels = list[tuple[int, int]]
"""(truth, prediction) of every valid pixel."""


def share(part: float, whole: float) -> float:
    return part / whole if whole else NAN


def mean(numbers: list[float]) -> float:
    there = [number for number in numbers if number == number]
    return share(sum(there), len(there))


def hits(pixels: Pixels, k: int) -> int:
    return sum(t == k and p == k for t, p in pixels)


def of_truth(pixels: Pixels, k: int) -> int:
    return sum(t == k for t, _ in pixels)


def of_prediction(pixels: Pixels, k: int) -> int:
    return sum(p == k for _, p in pixels)


def iou(pixels: Pixels, k: int) -> float:
    return share(hits(pixels, k), sum(k in pixel for pixel in pixels))


def class_accuracy(pixels: Pixels, k: int) -> float:
    return share(hits(pixels, k), of_truth(pixels, k))


def dice(pixels: Pixels, k: int) -> float:
    """As F1: the harmonic mean of precision and recall, where there is something to be found."""
    precision = share(hits(pixels, k), of_prediction(pixels, k))
    recall = share(hits(pixels, k), of_truth(pixels, k))
    if precision != precision and recall != recall:
        return NAN
    if not hits(pixels, k):
        return 0.0
    return 2 * precision * recall / (precision + recall)


def frequency_weighted_iou(pixels: Pixels) -> float:
    parts = [of_truth(pixels, k) * iou(pixels, k) for k in range(K) if of_truth(pixels, k)]
    return share(sum(parts), len(pixels))


REFERENCES: dict[str, Callable[[Pixels], float | list[float]]] = {
    "miou": lambda pixels: mean([iou(pixels, k) for k in range(K)]),
    "accuracy": lambda pixels: share(sum(t == p for t, p in pixels), len(pixels)),
    "class_accuracy": lambda pixels: mean([class_accuracy(pixels, k) for k in range(K)]),
    "fwiou": frequency_weighted_iou,
    "dice": lambda pixels: mean([dice(pixels, k) for k in range(K)]),
    "iou": lambda pixels: [iou(pixels, k) for k in range(K)],
}


def case(name: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Prediction and truth [3, 8, 9]; 255 in either is not counted."""
    rng = np.random.default_rng(3)
    truth = rng.integers(0, K - 1, (3, 8, 9))
    predicted = rng.integers(0, K - 1, (3, 8, 9))
    truth[rng.random(truth.shape) < 0.2] = 255
    predicted[0, 0, 0] = 255
    if name == "predicted though it does not occur":
        predicted[1] = K - 1
    elif name == "occurs and is never found":
        truth[1] = K - 1
    elif name == "one class":
        truth[:] = 2
        predicted[:] = 2
    elif name == "nothing valid":
        truth[:] = 255
    return predicted, truth


CASES = (
    "a class that occurs nowhere",
    "predicted though it does not occur",
    "occurs and is never found",
    "one class",
    "nothing valid",
)


def counted(name: str) -> npt.NDArray[np.int64]:
    predicted, truth = case(name)
    return confusion_matrix(torch.from_numpy(predicted), torch.from_numpy(truth), K).numpy()


def valid_pixels(name: str) -> Pixels:
    predicted, truth = case(name)
    both = zip(truth.ravel().tolist(), predicted.ravel().tolist(), strict=True)
    return [pixel for pixel in both if 255 not in pixel]


def test_confusion_counts_truth_by_row_and_leaves_ignored_pixels_out() -> None:
    predicted, truth = case(CASES[0])
    expected = np.zeros((K, K), dtype=np.int64)
    for t, p in valid_pixels(CASES[0]):
        expected[t, p] += 1
    counts = confusion_matrix(
        torch.from_numpy(predicted), torch.from_numpy(truth.astype(np.uint8)), K
    )
    np.testing.assert_array_equal(counts.numpy(), expected)


@pytest.mark.parametrize("what", CASES)
@pytest.mark.parametrize("name", METRICS)
def test_a_score_is_what_counting_pixels_gives(name: str, what: str) -> None:
    found = METRICS[name].of(counted(what))
    np.testing.assert_allclose(found, REFERENCES[name](valid_pixels(what)), rtol=1e-12)


@pytest.mark.parametrize("name", METRICS)
def test_a_perfect_prediction_has_the_best_score(name: str) -> None:
    perfect = np.diag([5, 1, 9, 2, 4]).astype(np.int64)
    wrong = np.roll(perfect, 1, axis=1)
    best = np.nanmin(METRICS[name].of(perfect))
    assert (best > np.nanmax(METRICS[name].of(wrong))) == METRICS[name].higher_is_better
    assert best == 1


def test_what_does_not_occur_does_not_count_and_nothing_at_all_is_unscored() -> None:
    absent = scores_of(counted("a class that occurs nowhere"), NAMES)
    assert [name for name, score in absent.items() if np.isnan(score)] == ["iou/e"]
    found = scores_of(counted("predicted though it does not occur"), NAMES)
    assert found["iou/e"] == 0, "predicted wrongly: it counts"
    nothing = scores_of(counted("nothing valid"), NAMES)
    assert np.isnan(list(nothing.values())).all()


def test_recorded_names_cannot_be_taken_for_others() -> None:
    assert list(scores_of(counted("one class"), NAMES))[:2] == ["miou", "accuracy"]
    for name in METRICS:
        assert "/" not in name and not NETWORK.fullmatch(name)
        assert METRICS[name].title
