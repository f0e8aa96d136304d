"""Confusion matrices, and the scores that follow from them.

Counting happens on the device and is never read back in between. `METRICS` is the one list of
scores: whatever stands in it is computed at every evaluation, recorded, and can be a column of a
table. To add one, write a pure function of the confusion matrix and one line in the dictionary.

What does not occur does not count: a class of which no pixel is there to judge it by has no score
(NaN) and is left out of means, and a mean over no class at all is NaN, which means "unscored".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rml_trainers import IGNORE_LABEL

Confusion = npt.NDArray[np.int64]
"""[K, K] pixel counts, truth by row, prediction by column."""
ByClass = npt.NDArray[np.float64]
"""[K]: one number for each class."""


def most_likely(scores: Tensor) -> Tensor:
    """Class with the largest score, the first of several: [B, K, H, W] → int64 [B, H, W].

    `argmax` gives the same and takes four times as long on a CPU, where classes are not the last
    dimension.
    """
    return scores.max(dim=1).indices


def confusion_matrix(predicted: Tensor, truth: Tensor, num_classes: int) -> Tensor:
    """Pixel counts, truth by row, prediction by column.

    Args:
        predicted: any shape, integer classes; values outside 0..K-1 are left out.
        truth: same shape, integer classes or 255.
    Returns:
        [K, K] int64 on the same device. Scatter-add, because `bincount` reads its size back to the
        host on a GPU.
    """
    predicted = predicted.flatten().long()
    truth = truth.flatten().long()
    valid = (truth != IGNORE_LABEL) & (predicted < num_classes)
    cell = torch.where(valid, truth * num_classes + predicted, num_classes * num_classes)
    counts = torch.zeros(num_classes * num_classes + 1, dtype=torch.int64, device=truth.device)
    counts.scatter_add_(0, cell, torch.ones_like(cell))
    return counts[:-1].view(num_classes, num_classes)


def iou_by_class(confusion: Confusion) -> ByClass:
    """IoU of each class in [0, 1], NaN for classes that occur neither in the truth nor in the
    prediction: [K]."""
    hits = np.diag(confusion)
    return _ratio(hits, confusion.sum(0) + confusion.sum(1) - hits)


def accuracy_by_class(confusion: Confusion) -> ByClass:
    """Share of each class's own pixels that are right, NaN for classes that the truth lacks: [K].

    Pixels that a network wrongly gives to such a class lower the share of the class they belong to.
    """
    return _ratio(np.diag(confusion), confusion.sum(1))


def dice_by_class(confusion: Confusion) -> ByClass:
    """Dice coefficient of each class, which is its F1, in [0, 1]: twice the hits by the pixels of
    truth and prediction together; NaN for classes that occur in neither: [K]."""
    return _ratio(2 * np.diag(confusion), confusion.sum(0) + confusion.sum(1))


def mean_iou(confusion: Confusion) -> float:
    """Mean IoU over the classes that occur in truth or prediction; NaN when there is no valid pixel
    at all."""
    return _mean(iou_by_class(confusion))


def pixel_accuracy(confusion: Confusion) -> float:
    """Fraction of valid pixels that are right; NaN when there is none."""
    total = int(confusion.sum())
    return float(np.trace(confusion) / total) if total else float("nan")


def mean_class_accuracy(confusion: Confusion) -> float:
    """Mean over the classes that occur in the truth of the share of their pixels that are right."""
    return _mean(accuracy_by_class(confusion))


def frequency_weighted_iou(confusion: Confusion) -> float:
    """Mean IoU weighted by how many pixels of the truth each class has."""
    pixels = confusion.sum(1)
    total = int(pixels.sum())
    occurs = pixels > 0
    weighted = pixels[occurs] * iou_by_class(confusion)[occurs]
    return float(weighted.sum() / total) if total else float("nan")


def mean_dice(confusion: Confusion) -> float:
    """Mean Dice coefficient (F1) over the classes that occur in truth or prediction."""
    return _mean(dice_by_class(confusion))


def _ratio(part: npt.NDArray[np.int64] | ByClass, whole: Confusion) -> ByClass:
    """part / whole, NaN where there is nothing to divide by."""
    with np.errstate(invalid="ignore"):
        return np.where(whole > 0, part / whole, np.nan)


def _mean(by_class: ByClass) -> float:
    """Mean over the classes that have a score, NaN where none has."""
    return float(np.nanmean(by_class)) if not np.isnan(by_class).all() else float("nan")


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One score of a confusion matrix."""

    title: str
    """What a person calls it."""
    of: Callable[[Confusion], float | ByClass]
    """A number for all classes together, or [K] numbers; NaN where nothing was scored."""
    higher_is_better: bool = True


METRICS: dict[str, Metric] = {
    "miou": Metric(title="mean IoU", of=mean_iou),
    "accuracy": Metric(title="pixel accuracy", of=pixel_accuracy),
    "class_accuracy": Metric(title="mean class accuracy", of=mean_class_accuracy),
    "fwiou": Metric(title="frequency-weighted IoU", of=frequency_weighted_iou),
    "dice": Metric(title="mean Dice coefficient (F1)", of=mean_dice),
    "iou": Metric(title="IoU of a class", of=iou_by_class),
}
"""Every score by the name it is recorded under: `<name>`, or `<name>/<class>` where a metric has a
number for each class. No name may be that of a network (`teacher_1`) or hold a slash."""


def scores_of(confusion: Confusion, class_names: Sequence[str]) -> dict[str, float]:
    """Every score of a confusion matrix by its recorded name. All of them are in the matrix: one
    more costs microseconds."""
    scores: dict[str, float] = {}
    for name, metric in METRICS.items():
        value = np.asarray(metric.of(confusion), dtype=np.float64)
        if value.ndim == 0:
            scores[name] = float(value)
        else:
            by_class = zip(class_names, value.tolist(), strict=True)
            scores |= {f"{name}/{class_name}": score for class_name, score in by_class}
    return scores
