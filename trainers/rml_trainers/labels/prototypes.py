"""Class prototypes η_k in the mean teacher's feature space, and the class-wise confidence ω they
give (Eq. 9 to 11).

Everything is batched: no loop over classes or images, nothing read back to the host.
"""

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional


def class_means(
    feature: Tensor, label: Tensor, num_classes: int, min_cells: int
) -> tuple[Tensor, Tensor]:
    """Sum over images of the per-image mean feature of every class, and the number of images in it
    (Eq. 10).

    Args:
        feature: [B, D, h, w].
        label: [B, h, w] int64, predicted class of each cell; values outside 0..K-1 belong to no
            class.
        min_cells: a class with fewer cells in an image is skipped there.
    Returns:
        sums [K, D] and counts [K], both float32.
    """
    feature = feature.float().flatten(2)
    classes = torch.arange(num_classes, device=label.device)
    member = (label.flatten(1).unsqueeze(-1) == classes).float()
    cells = member.sum(1)
    means = torch.einsum("bdn,bnk->bkd", feature, member) / cells.clamp(min=1).unsqueeze(-1)
    enough = (cells >= min_cells).float()
    return torch.einsum("bkd,bk->kd", means, enough), enough.sum(0)


def prototype_distances(feature: Tensor, prototypes: Tensor, seen: Tensor) -> Tensor:
    """Euclidean (not squared) distance of every cell to every prototype: [B, K, h, w] float32.

    A class without a prototype yet takes the cell's mean distance to the others: it is then neither
    favoured nor excluded, and p⁰ decides (ours; the paper is silent).

    Args:
        feature: [B, D, h, w].
        prototypes: [K, D] float32.
        seen: [K] bool, which classes have a prototype.
    """
    batch, width, height_cells, width_cells = feature.shape
    cells = feature.float().permute(0, 2, 3, 1).reshape(-1, width)
    distance = torch.cdist(cells, prototypes)
    known = seen.float()
    neutral = (distance * known).sum(1, keepdim=True) / known.sum().clamp(min=1)
    distance = torch.where(seen, distance, neutral)
    return distance.view(batch, height_cells, width_cells, -1).permute(0, 3, 1, 2)


def log_confidence(
    distance: Tensor,
    log_mixture: Tensor,
    temperature: float,
    scaling: Literal["euclidean", "relative"],
    inside: Tensor | None = None,
) -> Tensor:
    """log ω = log-softmax_k(log π_k − d_k / T) (Eq. 9): [B, K, h, w].

    Args:
        distance: [B, K, h, w].
        log_mixture: [K], log π.
        scaling: `relative` first divides by each image's mean distance.
        inside: [B, h, w] bool, cells that count in that mean; None: all.
    """
    if scaling == "relative":
        mean = _mean_of_image(distance, inside)
        distance = distance / mean.clamp(min=1e-12)
    return functional.log_softmax(log_mixture.view(1, -1, 1, 1) - distance / temperature, dim=1)


def move_prototypes(
    prototypes: Tensor, seen: Tensor, sums: Tensor, counts: Tensor, momentum: float
) -> None:
    """η_k ← λ η_k + (1 − λ) η'_k in place, η'_k the mean over the batch's images (Eq. 11).

    A class absent from the batch keeps its prototype; one met for the first time takes η'_k as it
    is.

    Args:
        prototypes: [K, D], changed in place. seen: [K] bool, changed in place.
        sums, counts: of `class_means`, summed over all workers.
    """
    batch_mean = sums / counts.clamp(min=1).unsqueeze(1)
    present = counts > 0
    moved = torch.where(seen.unsqueeze(1), torch.lerp(batch_mean, prototypes, momentum), batch_mean)
    prototypes.copy_(torch.where(present.unsqueeze(1), moved, prototypes))
    seen.logical_or_(present)


def mean_entropy(log_prob: Tensor, inside: Tensor | None = None) -> Tensor:
    """Mean entropy over cells as a fraction of log K: 0 means saturated (one class takes all), 1
    means no information. `inside` as of `log_confidence`."""
    entropy = mean_of_cells(-(log_prob.exp() * log_prob).sum(1), inside)
    return entropy / math.log(log_prob.shape[1])


def mean_of_cells(values: Tensor, inside: Tensor | None) -> Tensor:
    """Mean of values [B, h, w] over the cells that count, all where `inside` is None; 0 where none
    does."""
    if inside is None:
        return values.mean()
    return torch.where(inside, values, 0).sum() / inside.sum().clamp(min=1)


def _mean_of_image(distance: Tensor, inside: Tensor | None) -> Tensor:
    """Mean distance of each image [B, 1, 1, 1] over classes and the cells that count."""
    if inside is None:
        return distance.mean(dim=(1, 2, 3), keepdim=True)
    counted = torch.where(inside.unsqueeze(1), distance, 0).sum((1, 2, 3), keepdim=True)
    cells = inside.sum((1, 2)).view(-1, 1, 1, 1)
    return counted / (cells * distance.shape[1]).clamp(min=1)
