"""Class-balanced curriculum: of every class, the most confident share of the stored soft labels is kept.

Source: class-balanced self-training (Zou et al., 2018) in the form of DMT (Feng et al., 2020): a label is the class of
highest probability, and it is kept where its confidence reaches the threshold of its class. The threshold lets through
the wanted share of the pixels that the network gives to that class on the unlabelled images.
"""

import torch
from torch import Tensor

from rml_trainers.networks.network import SegmentationNetwork

BINS_PER_OCTAVE, NUM_OCTAVES = 1024, 24
NUM_BINS = BINS_PER_OCTAVE * NUM_OCTAVES
"""Confidences c are counted by −log2(1 − c), less than 0.1 % of 1 − c apart: a trained network gives most pixels more
than 0.99, where bins of equal width would not tell the best 20 % from the rest. Float32 ends at 24 octaves."""
SAMPLES_PER_CELL = 4
"""Per axis, and never more than pixels: with an output stride of 8 every second row and column (DMT's code takes one
pixel in 16)."""
SMALLEST_PROB = 1e-7
"""Half precision, in which p⁰ is stored, ends near 6e-8."""


def confident_class(
    prob: Tensor, network: SegmentationNetwork, size_px: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Class, confidence c = max p and its bin at every pixel, from probabilities at feature resolution.

    Args:
        prob: [B, K, h, w]. Its logarithm is upsampled, which is the same as upsampling the logits.
        network: whose p⁰ it is; upsamples in its own way.
    Returns:
        int64, float32 and int64 of [B, *size_px].
    """
    scores = network.upsample(prob.clamp(min=SMALLEST_PROB).log(), size_px)
    confidence, label = scores.softmax(dim=1).max(dim=1)
    octaves = -torch.log2((1 - confidence).clamp(min=2.0**-NUM_OCTAVES))
    return label, confidence, (octaves * BINS_PER_OCTAVE).long().clamp(0, NUM_BINS - 1)


class ConfidenceCounts:
    """Counts of one network's confidences by class and bin, over the unlabelled images."""

    def __init__(self, network: SegmentationNetwork, num_classes: int, device: torch.device) -> None:
        self._network = network
        self._counts = torch.zeros(num_classes, NUM_BINS, dtype=torch.int64, device=device)

    def gather(self, prob: Tensor, size_px: tuple[int, int]) -> None:
        """Add whole images of one size from their probabilities [B, K, h, w], rounded as the store rounds them."""
        height, width = (min(px, SAMPLES_PER_CELL * n) for px, n in zip(size_px, prob.shape[2:], strict=True))
        label, _, bins = confident_class(prob.half().float(), self._network, (height, width))
        flat = torch.bincount((label * NUM_BINS + bins).flatten(), minlength=self._counts.numel())
        self._counts += flat.view_as(self._counts)

    def threshold(self, share: float) -> Tensor:
        """int64 [K]: lowest bin of each class that is kept, so that at least `share` of its pixels are.

        Everything is kept with share 1 and of a class that was never predicted.
        """
        total = self._counts.sum(dim=1, keepdim=True)
        kept_from = self._counts.flip(1).cumsum(1).flip(1)
        enough = kept_from >= share * total.double()
        bins = enough.sum(dim=1) - 1
        return torch.where(total[:, 0] > 0, bins, 0) if share < 1 else torch.zeros_like(bins)
