"""What one network scored."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt


def in_per_cent(score: float) -> str:
    """A score in [0, 1] as a person reads it: `61.3`, or `unscored` for NaN (nothing was there to
    be scored)."""
    return "unscored" if math.isnan(score) else f"{100 * score:.1f}"


ScoredSubset = Literal["val", "holdout"]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores of one network under one protocol."""

    protocol: str
    """Protocol id, for example `camvid-360x480/teacher_1/last`: size, network and moment are part
    of the number."""
    network: str
    scores: Mapping[str, float]
    """By recorded name, `miou` or `iou/<class>` (see `scoring.metrics.METRICS`); NaN where nothing
    was scored, such as a class that neither occurs nor is predicted."""
    confusion: npt.NDArray[np.int64] = field(repr=False)
    """(K, K) pixel counts, truth by row, prediction by column."""
    subset: ScoredSubset = "val"
    """The validation images, or labelled training images that were kept out of training."""

    @property
    def miou(self) -> float:
        """Mean IoU in [0, 1] over the classes that occur in truth or prediction."""
        return self.scores["miou"]

    @property
    def accuracy(self) -> float:
        """Fraction of valid pixels that are right."""
        return self.scores["accuracy"]

    @property
    def iou_by_class(self) -> dict[str, float]:
        """IoU in [0, 1] by class name; NaN for a class that neither occurs nor is predicted."""
        return {
            name.removeprefix("iou/"): score
            for name, score in self.scores.items()
            if name.startswith("iou/")
        }
