"""Boundary IoU: IoU of the pixels along the contours only (Cheng et al., 2021, "Boundary IoU:
Improving Object-Centric Image Segmentation Evaluation").

Of a class's pixels those count that lie within a distance of the contour: the pixels that its mask
loses when it is eroded by a square. The image's own border is a contour too, as in the authors'
code. Pixels that nobody labelled belong to no class, neither in the truth nor in the prediction.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rml_trainers import IGNORE_LABEL

DILATION_RATIO = 0.02
"""Width of the band along a contour, as a share of the image's diagonal (Cheng et al., 4)."""

Mask = npt.NDArray[np.uint8]
Counts = npt.NDArray[np.int64]


class BoundaryCounts(NamedTuple):
    """What boundary IoU is made of, to be summed over images; both [K]."""

    intersection: Counts
    union: Counts


def boundary_width(size_px: tuple[int, int], ratio: float = DILATION_RATIO) -> int:
    """Pixels on each side of a contour, at least one."""
    return max(1, round(ratio * float(np.hypot(*size_px))))


def boundary_counts(
    predicted: Mask, truth: Mask, num_classes: int, ratio: float = DILATION_RATIO
) -> BoundaryCounts:
    """Pixels on the boundaries of each class in one image.

    Args:
        predicted: [H, W], classes 0..K-1.
        truth: [H, W], classes 0..K-1 or 255.
        ratio: width of the band as a share of the image's diagonal.
    """
    assert predicted.shape == truth.shape, "prediction and truth differ in size"
    width = boundary_width((truth.shape[0], truth.shape[1]), ratio)
    predicted = np.where(truth == IGNORE_LABEL, np.uint8(IGNORE_LABEL), predicted)
    of_truth = np.where(on_boundary(truth, width), truth, np.uint8(IGNORE_LABEL))
    of_prediction = np.where(on_boundary(predicted, width), predicted, np.uint8(IGNORE_LABEL))
    both = of_truth[of_truth == of_prediction]
    intersection = _per_class(both, num_classes)
    all_of_both = _per_class(of_truth, num_classes) + _per_class(of_prediction, num_classes)
    return BoundaryCounts(intersection, all_of_both - intersection)


def boundary_iou(counts: BoundaryCounts) -> npt.NDArray[np.float64]:
    """Boundary IoU of each class in [0, 1], NaN for classes that have a boundary in neither truth
    nor prediction: [K]."""
    with np.errstate(invalid="ignore"):
        return np.where(counts.union > 0, counts.intersection / counts.union, np.nan)


def on_boundary(mask: Mask, width: int) -> npt.NDArray[np.bool_]:
    """Pixels from which another class, or the outside, is at most `width` pixels away in both
    directions: bool [H, W].

    One pass serves all classes: the square around a pixel holds one class only, and lies inside the
    image, exactly where eroding that class's mask leaves the pixel.
    """
    from scipy.ndimage import maximum_filter, minimum_filter  # takes a moment to load

    side = 2 * width + 1
    inside: npt.NDArray[np.bool_] = maximum_filter(mask, side) == minimum_filter(mask, side)
    inside[:width] = False
    inside[-width:] = False
    inside[:, :width] = False
    inside[:, -width:] = False
    return ~inside


def _per_class(classes: Mask, num_classes: int) -> Counts:
    """How many pixels have each class: [K]."""
    return np.bincount(classes.ravel(), minlength=256)[:num_classes].astype(np.int64)
