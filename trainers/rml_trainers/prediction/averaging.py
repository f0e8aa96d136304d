"""Averages over several looks at the same image: at other scales, and mirrored."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from rml_trainers.prediction.windows import Probability


def averaged(probability: Probability, scales: Sequence[float], flip: bool) -> Probability:
    """A network that looks at every image several times and averages its probabilities.

    Args:
        probability: what is looked with.
        scales: shares of the image's size, each at least one look; resized by antialiased bilinear,
            and the probabilities back by bilinear.
        flip: also at the image mirrored from left to right, at every scale.
    """
    if tuple(scales) == (1.0,) and not flip:
        return probability

    def mean(images: Tensor) -> Tensor:
        size = (images.shape[-2], images.shape[-1])
        total: Tensor | None = None
        for scale in scales:
            seen = at_scale(images, scale)
            for mirrored in (False, True) if flip else (False,):
                found = probability(seen.flip(-1)).flip(-1) if mirrored else probability(seen)
                found = resized(found, size)
                total = found if total is None else total + found
        assert total is not None, "at least one scale"
        return total / (len(scales) * (2 if flip else 1))

    return mean


def at_scale(images: Tensor, scale: float) -> Tensor:
    """Images [B, 3, H, W] at a share of their size, no side shorter than one pixel."""
    height, width = (max(1, round(scale * px)) for px in images.shape[-2:])
    if (height, width) == tuple(images.shape[-2:]):
        return images
    smaller = functional.interpolate(
        images, size=(height, width), mode="bilinear", align_corners=False, antialias=True
    )
    return smaller.clamp(0, 1)


def resized(maps: Tensor, size_px: tuple[int, int]) -> Tensor:
    """Maps [B, C, h, w] at another size, bilinear between the centres of pixels."""
    if tuple(maps.shape[-2:]) == size_px:
        return maps
    return functional.interpolate(maps, size=size_px, mode="bilinear", align_corners=False)


def resized_rows(maps: Tensor, size_px: tuple[int, int], first: int, last: int) -> Tensor:
    """Rows `first` ≤ row < `last` of what `resized` gives for maps [C, h, w]: [C, last - first, W].

    So that probabilities at the size of a large image never have to be there all at once.
    """
    if tuple(maps.shape[-2:]) == size_px:
        return maps[:, first:last]
    height = maps.shape[-2]
    row = torch.arange(first, last, dtype=torch.float64)
    place = ((row + 0.5) * (height / size_px[0]) - 0.5).clamp(0, height - 1)
    above = place.floor().long()
    below = (above + 1).clamp(max=height - 1)
    share = (place - above).to(maps).view(-1, 1)
    rows = torch.lerp(maps[:, above.to(maps.device)], maps[:, below.to(maps.device)], share)
    return resized(rows[None], (last - first, size_px[1]))[0]
