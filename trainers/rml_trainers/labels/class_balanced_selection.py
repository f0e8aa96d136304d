"""Class-balanced selection: of every class, the most confident fraction of the stored soft labels
is kept.

Source: class-balanced self-training (Zou et al., 2018) in the form of DMT (Feng et al., 2020): a
label is the class of highest probability, and it is kept where its confidence reaches the threshold
of its class. The threshold lets through the wanted fraction of the pixels that the network gives to
that class on the unlabelled images; it is taken from crops as training cuts them, because reading
the stored probabilities between their cells makes them less confident.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from rml_trainers.data.loading.loaders import InitialLabels
from rml_trainers.labels.stage_context import StageContext
from rml_trainers.networks.network import SegmentationNetwork
from rml_trainers.noise.geometry import draw_windows, inside_mask
from rml_trainers.runtime.distributed import rank, sum_over_workers, world_size
from rml_trainers.runtime.randomness import generator

BINS_PER_OCTAVE = 1024
NUM_OCTAVES = 24
NUM_BINS = BINS_PER_OCTAVE * NUM_OCTAVES
"""Confidences c are counted by −log2(1 − c), less than 0.1 % of 1 − c apart: a trained network
gives most pixels more than 0.99, where bins of equal width would not tell the best 20 % from the
rest. Float32 ends at 24 octaves."""
SMALLEST_PROB = 1e-7
"""Half precision, in which p⁰ is stored, ends near 6e-8."""


def confident_class(
    prob: Tensor, network: SegmentationNetwork, size_px: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Class, confidence c = max p and its bin at every pixel, from probabilities at feature
    resolution.

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

    def __init__(
        self, network: SegmentationNetwork, num_classes: int, device: torch.device
    ) -> None:
        self._network = network
        self._counts = torch.zeros(num_classes, NUM_BINS, dtype=torch.int64, device=device)

    def gather(self, prob: Tensor, inside: Tensor) -> None:
        """Add crops: probabilities [B, K, h, w], and bool [B, H, W] that is False where a crop
        overhangs its image."""
        label, _, bins = confident_class(prob, self._network, (inside.shape[-2], inside.shape[-1]))
        cell = (label * NUM_BINS + bins)[inside]
        self._counts += torch.bincount(cell, minlength=self._counts.numel()).view_as(self._counts)

    def threshold(self, fraction: float) -> Tensor:
        """int64 [K]: lowest bin of each class that is kept, so that at least `fraction` of its
        pixels are.

        Everything is kept with fraction 1 and of a class that was never predicted. Workers sum
        their counts.
        """
        counts = sum_over_workers(self._counts.clone())
        total = counts.sum(dim=1, keepdim=True)
        kept_from = counts.flip(1).cumsum(1).flip(1)
        enough = kept_from >= fraction * total.double()
        bins = enough.sum(dim=1) - 1
        return torch.where(total[:, 0] > 0, bins, 0) if fraction < 1 else torch.zeros_like(bins)


def stored_crops(
    context: StageContext, readers: Sequence[InitialLabels]
) -> Iterator[tuple[list[Tensor], Tensor]]:
    """One random crop of every unlabelled image, workers taking turns: what each network stored for
    it, and `inside`.

    Yields per batch a list with float32 [B, K, h, w] of each reader, and bool [B, H, W], on the
    CPU.
    """
    data = context.data
    crop_px = context.geometry.crop_px
    batch = context.images_at_once
    sizes = [
        data.image_size("train", data.index("train", name)) for name in context.split.unlabelled
    ]
    windows = draw_windows(
        generator(context.seed, "curriculum", context.stage), sizes, context.geometry
    )
    crops = list(zip(context.split.unlabelled, sizes, windows, strict=True))[rank() :: world_size()]
    for group in (crops[start : start + batch] for start in range(0, len(crops), batch)):
        inside = torch.empty((len(group), *crop_px), dtype=torch.bool)
        for (_, size, window), out in zip(group, inside, strict=True):
            inside_mask(size, window, crop_px, out)
        yield (
            [
                torch.stack([p0.crop(name, window, crop_px) for name, _, window in group])
                for p0 in readers
            ],
            inside,
        )
