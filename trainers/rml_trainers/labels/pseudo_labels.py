"""Pseudo labels: from logits at feature resolution to targets at pixel resolution, mixed like the
images."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from rml_trainers import IGNORE_LABEL
from rml_trainers.networks.network import SegmentationNetwork
from rml_trainers.noise.input_noise import InputNoiseDraw, mix
from rml_trainers.scoring.metrics import most_likely
from rml_trainers.students.losses import (
    hard_cross_entropy,
    soft_cross_entropy,
    weighted_cross_entropy,
)


class PseudoLabel(NamedTuple):
    """Target of one labeller on the weak views."""

    hard: Tensor
    """[B, H, W] int64: argmax class, 255 where there is nothing to learn from."""
    soft: Tensor | None
    """[B, K, H, W] probabilities, only when soft labels are asked for."""
    confidence: Tensor | None = None
    """[B, H, W] largest probability of every pixel, only when asked for."""
    inside: Tensor | None = None
    """[B, H, W] bool, only where means go over more pixels than have a label: over all that are
    image, so that few confident ones weigh little."""
    num_valid: Tensor | None = None
    """Scalar: pixels of the whole batch that means go over (see `valid_counts`), once it is
    known."""
    weight: Tensor | None = None
    """[B, H, W] factor of every pixel's loss; None: 1. Means are over the pixels, not over the
    weights."""

    @property
    def valid(self) -> Tensor:
        """[B, H, W] bool: where there is something to learn from."""
        return self.hard != IGNORE_LABEL

    @property
    def counted(self) -> Tensor:
        """[B, H, W] bool: the pixels that means go over."""
        return self.valid if self.inside is None else self.inside

    def mixed(self, draw: InputNoiseDraw) -> "PseudoLabel":
        """Mixed in the same way as the images."""
        return self._mapped(lambda maps: mix(maps, draw), None)

    def of(self, images: slice) -> "PseudoLabel":
        """That of some of the images; `num_valid` stays that of all."""
        return self._mapped(lambda maps: maps[images], self.num_valid)

    def _mapped(
        self, change: Callable[[Tensor], Tensor], num_valid: Tensor | None
    ) -> "PseudoLabel":
        soft, confidence, inside, weight = (
            None if maps is None else change(maps)
            for maps in (self.soft, self.confidence, self.inside, self.weight)
        )
        return PseudoLabel(change(self.hard), soft, confidence, inside, num_valid, weight)

    def cross_entropy(self, log_prob: Tensor) -> Tensor:
        """Mean cross entropy of a student's log-probabilities [B, K, H, W] over valid pixels."""
        if self.weight is not None:
            return weighted_cross_entropy(
                log_prob, self.hard, self.soft, self.weight, self.num_valid
            )
        if self.soft is None:
            return hard_cross_entropy(log_prob, self.hard, self.num_valid)
        return soft_cross_entropy(log_prob, self.soft, self.valid, self.num_valid)


def make_pseudo_label(
    scores: Tensor,
    inside: Tensor,
    network: SegmentationNetwork,
    *,
    soft: bool = False,
    threshold: float | None = None,
    confidence: bool = False,
) -> PseudoLabel:
    """Upsample scores, take the class, and ignore padding and, with a threshold, pixels of little
    confidence.

    Args:
        scores: [B, K, h, w] logits, or any log-scores that are right up to a constant per cell. The
            constant is common to all classes after the linear upsampling too, so neither argmax nor
            softmax changes.
        inside: [B, H, W] bool, False where the crop overhangs the image.
        threshold: τ of Eq. 2: pixels with max p ≤ τ are ignored.
        soft, confidence: also give the probabilities, or the largest of every pixel.
    """
    scores = network.upsample(scores, (inside.shape[-2], inside.shape[-1])).float()
    hard = most_likely(scores)
    keep = inside
    prob = scores.softmax(dim=1) if soft or confidence or threshold is not None else None
    largest = None if prob is None else prob.amax(dim=1)
    if threshold is not None:
        assert largest is not None
        keep = keep & (largest > threshold)
    return PseudoLabel(
        torch.where(keep, hard, IGNORE_LABEL),
        prob if soft else None,
        largest if confidence else None,
    )
