"""Which cells of a map belong together, and how labels spread between them (Sun et al., CorrMatch,
2024).

Everything has a fixed shape, so that nothing is read back to the host.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

CELL_PX = 8
"""Finer maps are averaged to cells of this size (authors: output stride 8); their affinities would
take too much memory."""


class CorrelationHead(nn.Module):
    """From a map [B, D, h, w] to the affinity [B, h · w, h · w] of each cell to all others.

    A 3×3 convolution with BatchNorm, ReLU and channel dropout, then two linear maps to K channels;
    affinity is the softmax over j of f1_i · f2_j / √K. It only runs where it learns, so that it
    keeps no statistics.
    """

    def __init__(self, in_width: int, width: int, num_classes: int) -> None:
        super().__init__()
        self.project = nn.Sequential(
            nn.Conv2d(in_width, width, kernel_size=3, padding=1),
            nn.BatchNorm2d(width, track_running_stats=False),
            nn.ReLU(inplace=True),
            nn.Dropout2d(0.1),
        )
        self.first = nn.Conv2d(width, num_classes, kernel_size=1)
        self.second = nn.Conv2d(width, num_classes, kernel_size=1)

    def forward(self, maps: Tensor) -> Tensor:
        projected = self.project(maps)
        first = self.first(projected).flatten(2)
        second = self.second(projected).flatten(2)
        scores = first.transpose(1, 2) @ second / math.sqrt(first.shape[1])
        affinity: Tensor = scores.float().softmax(dim=2)
        return affinity


def coarse(maps: Tensor, image_px: tuple[int, int]) -> Tensor:
    """Maps [B, D, h, w] of images of this size with cells of at least `CELL_PX`."""
    size = (
        min(maps.shape[-2], math.ceil(image_px[0] / CELL_PX)),
        min(maps.shape[-1], math.ceil(image_px[1] / CELL_PX)),
    )
    return maps if maps.shape[-2:] == size else functional.adaptive_avg_pool2d(maps, size)


def spread(logits: Tensor, affinity: Tensor) -> Tensor:
    """Logits [B, K, h, w] in which every cell j has Σ_i affinity_ij · logits_i."""
    return (logits.flatten(2) @ affinity).view_as(logits)


def rows_of(affinity: Tensor, num: int) -> Tensor:
    """[B, num, h · w]: affinities of random cells, the same in every image, drawn with replacement
    from all but the last (authors' code)."""
    num_cells = affinity.shape[1]
    numbers = torch.randint(max(num_cells - 1, 1), (num,), device=affinity.device)
    return affinity.index_select(1, numbers)


def segments(maps: Tensor) -> Tensor:
    """bool [B, M, H, W]: where affinities at pixel resolution lie in the upper half of their
    range; nowhere where they are all alike."""
    smallest = maps.amin(dim=(2, 3), keepdim=True)
    largest = maps.amax(dim=(2, 3), keepdim=True)
    return maps - smallest > (largest - smallest) / 2


def spread_labels(
    label: Tensor, sure: Tensor, regions: Tensor, threshold: Tensor, num_classes: int
) -> tuple[Tensor, Tensor]:
    """Labels after every region, in turn, may have taken its most frequent certain class.

    It does where the share of its certain pixels reaches the threshold, and the share of that class
    among them, as the labels are by then, exceeds it.

    Args:
        label: int64 [B, H, W], 255 only where not sure.
        sure: bool [B, H, W].
        regions: bool [B, M, H, W].
        threshold: scalar.
    Returns:
        The labels, and bool [B, H, W]: pixels that took one.
    """
    covered = torch.zeros_like(sure)
    for region in regions.unbind(dim=1):
        certain = region & sure
        classes = torch.where(certain, label, num_classes).flatten(1)
        empty = label.new_zeros(len(label), num_classes + 1)
        counts = empty.scatter_add(1, classes, torch.ones_like(classes))[:, :num_classes]
        (largest, top) = counts.max(dim=1)
        num_certain = counts.sum(dim=1)
        size = region.sum(dim=(1, 2))
        takes = (num_certain > 0) & (num_certain >= threshold * size)
        takes = takes & (largest > threshold * num_certain)
        painted = region & takes[:, None, None]
        label = torch.where(painted, top[:, None, None], label)
        covered = covered | painted
    return label, covered


def largest_confidence(confidence: Tensor, label: Tensor, num_classes: int) -> Tensor:
    """[K] largest confidence of the pixels [B, H, W] of every class, −1 for one without; 255 is of
    no class."""
    classes = torch.where(label < num_classes, label, num_classes).flatten()
    start = confidence.new_full((num_classes + 1,), -1.0)
    return start.scatter_reduce(0, classes, confidence.flatten(), "amax")[:num_classes]
