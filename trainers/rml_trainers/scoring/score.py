"""What one network scored."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

ScoredSubset = Literal["val", "holdout"]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores of one network under one protocol."""

    protocol: str
    """Protocol id, for example `camvid-360x480/teacher_1/last`: size, network and moment are part
    of the number."""
    network: str
    miou: float
    """Mean IoU in [0, 1] over the classes that occur in truth or prediction."""
    accuracy: float
    """Fraction of valid pixels that are right."""
    iou_by_class: dict[str, float]
    """IoU in [0, 1] by class name; NaN for a class that neither occurs nor is predicted."""
    confusion: npt.NDArray[np.int64] = field(repr=False)
    """(K, K) pixel counts, truth by row, prediction by column."""
    subset: ScoredSubset = "val"
    """The validation images, or labelled training images that were kept out of training."""
