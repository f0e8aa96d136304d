"""Which pseudo labels of two teachers teach, and how much: thresholds of each class, agreement.

Both are options of mutual learning that the paper does not have.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from rml_trainers import IGNORE_LABEL
from rml_trainers.configuration import require
from rml_trainers.labels.pseudo_labels import PseudoLabel
from rml_trainers.runtime.distributed import sum_over_workers

MOMENTUM = 0.999
"""Of the moving average of each class's confidence (FreeMatch's code)."""


class ClassThresholds:
    """How confident one network is of each class, on average, and the thresholds that follow.

    τ_k = τ · c_k / max c: a class of which the network is less sure is let through more easily
    (after FlexMatch, Zhang et al. 2021, and FreeMatch, Wang et al. 2023). c_k is a moving average
    of the mean confidence of the pixels that are given the class, over all workers; at first 1 / K.
    """

    def __init__(self, num_classes: int, device: torch.device) -> None:
        self.confidence = torch.full((num_classes,), 1 / num_classes, device=device)

    def select(self, label: PseudoLabel, threshold: float) -> PseudoLabel:
        """The label without the pixels that are not above their class's threshold; moves the
        average first."""
        assert label.confidence is not None, "asked for by whoever made the label"
        self._move(label.hard, label.confidence)
        thresholds = threshold * self.confidence / self.confidence.amax()
        known = torch.where(label.valid, label.hard, 0)
        sure = label.confidence > thresholds[known]
        return label._replace(hard=torch.where(sure, label.hard, IGNORE_LABEL), confidence=None)

    def _move(self, label: Tensor, confidence: Tensor) -> None:
        num_classes = len(self.confidence)
        known = label != IGNORE_LABEL
        # 255 goes to a class of its own, which is left out.
        classes = torch.where(known, label, num_classes).flatten()
        member = functional.one_hot(classes, num_classes + 1)[:, :num_classes].float()
        sums = torch.stack([confidence.flatten() @ member, member.sum(dim=0)])
        total, count = sum_over_workers(sums)
        mean = total / count.clamp(min=1)
        moved = torch.lerp(mean, self.confidence, MOMENTUM)
        self.confidence = torch.where(count > 0, moved, self.confidence)


def agreement(labels: Sequence[PseudoLabel], disagreement_weight: float) -> Tensor:
    """[B, H, W]: 1 where all labels are of the same class, else the given weight."""
    first, *others = labels
    same = torch.ones_like(first.hard, dtype=torch.bool)
    for other in others:
        same &= first.hard == other.hard
    return torch.where(same, 1.0, disagreement_weight)


def check_selection(class_threshold: float | None, disagreement_weight: float) -> None:
    """Raise a ValueError unless both settings are what they should be."""
    given = class_threshold is None or 0 < class_threshold < 1
    require(given, "class_threshold", class_threshold, "a number in (0, 1)")
    in_range = 0 <= disagreement_weight <= 1
    require(in_range, "disagreement_weight", disagreement_weight, "a number in [0, 1]")
