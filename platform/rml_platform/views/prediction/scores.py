"""Scores of predictions against the truth, as a CSV file.

One line for every image and class that occurs, and one for each image over all classes; the last
lines, without an image, are those of all images together. An empty class stands for all classes, an
empty score for "unscored".
"""

import csv
import io
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rml_trainers import IGNORE_LABEL
from rml_trainers.scoring.boundary import BoundaryCounts, boundary_counts, boundary_iou
from rml_trainers.scoring.metrics import (
    Confusion,
    accuracy_by_class,
    iou_by_class,
    mean_iou,
    pixel_accuracy,
)
from rml_trainers.scoring.score import in_per_cent

COLUMNS = (
    "image",
    "class",
    "iou",
    "boundary_iou",
    "accuracy",
    "truth_pixels",
    "predicted_pixels",
)
Mask = npt.NDArray[np.uint8]


class ScoreSheet:
    """Scores image by image, and adds them up."""

    def __init__(self, class_names: tuple[str, ...]) -> None:
        self._text = io.StringIO(newline="")
        self._class_names = class_names
        num_classes = len(class_names)
        self._confusion: Confusion = np.zeros((num_classes, num_classes), np.int64)
        empty = np.zeros(num_classes, np.int64)
        self._boundary = BoundaryCounts(empty, empty)
        self._lines = csv.writer(self._text, lineterminator="\n")
        self._lines.writerow(COLUMNS)
        self.num_images = 0

    def add(self, name: str, predicted: Mask, truth: Mask) -> None:
        """Score one image: masks [H, W] of classes 0..K-1, in the truth also 255."""
        num_classes = len(self._class_names)
        valid = truth != IGNORE_LABEL
        cells = truth[valid].astype(np.int64) * num_classes + predicted[valid]
        confusion = np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)
        boundary = boundary_counts(predicted, truth, num_classes)
        self._write(name, confusion, boundary)
        self._confusion += confusion
        self._boundary = BoundaryCounts(
            self._boundary.intersection + boundary.intersection,
            self._boundary.union + boundary.union,
        )
        self.num_images += 1

    def text(self) -> str:
        """The whole file, ending in the lines of all images together; asked for once."""
        self._write("", self._confusion, self._boundary)
        return self._text.getvalue()

    def summary(self) -> str:
        """Scores of all images together, in words."""
        scores = (
            ("mIoU", mean_iou(self._confusion)),
            ("boundary IoU", _mean(boundary_iou(self._boundary))),
            ("pixel accuracy", pixel_accuracy(self._confusion)),
        )
        told = ", ".join(f"{title} {in_per_cent(score)}" for title, score in scores)
        return f"{told} (per cent, {self.num_images} images)"

    def _write(self, image: str, confusion: Confusion, boundary: BoundaryCounts) -> None:
        iou = iou_by_class(confusion)
        along = boundary_iou(boundary)
        accuracy = accuracy_by_class(confusion)
        in_truth = confusion.sum(1)
        predicted = confusion.sum(0)
        for k in np.flatnonzero(in_truth + predicted):
            scores = (_text(iou[k]), _text(along[k]), _text(accuracy[k]))
            self._lines.writerow((image, self._class_names[k], *scores, in_truth[k], predicted[k]))
        overall = (mean_iou(confusion), _mean(along), pixel_accuracy(confusion))
        total = confusion.sum()
        self._lines.writerow((image, "", *map(_text, overall), total, total))


def _mean(by_class: npt.NDArray[np.float64]) -> float:
    """Mean over the classes that have a score; NaN where none has."""
    scored = by_class[~np.isnan(by_class)]
    return float(scored.mean()) if len(scored) else float("nan")


def _text(score: float) -> str:
    return "" if np.isnan(score) else f"{score:.6f}"


def scores_file(to: Path) -> Path:
    """Where the scores of a folder of predictions stand."""
    return to / "scores.csv"
