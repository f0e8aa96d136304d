"""Large images in overlapping windows whose borders are blended, in memory that does not grow with
the image's height.

A network sees less around a pixel at a window's border than in its middle, so a window counts for
a pixel by how far inside it lies: its weight falls linearly towards the four borders. Where several
windows overlap, a pixel's probability is the mean of theirs with these weights.

The mean is taken as windows come, `mean += weight / weights so far · (new - mean)`: whatever the
weights, values that agree give exactly that value.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from rml_trainers.data.dataset import SizePx, UInt8Array
from rml_trainers.scoring.image_passes import window_starts

Probability = Callable[[Tensor], Tensor]
"""Images float32 [B, 3, h, w] in [0, 1] → class probabilities float32 [B, K, h, w]."""


def border_weights(length: int) -> Tensor:
    """Weight of each pixel of a window along one axis, float32 [length]: 1 at the border, one more
    for each step inwards."""
    place = torch.arange(length, dtype=torch.float32)
    return torch.minimum(place, length - 1 - place) + 1


def in_windows(
    probability: Probability,
    image: UInt8Array,
    window_px: SizePx,
    stride_px: SizePx,
    batch: int,
) -> Iterator[Tensor]:
    """Class probabilities of an image, in strips.

    Args:
        image: [H, W, 3].
        window_px: height and width of a window; cut to the image where that is smaller.
        stride_px: from window to window, down and across; the last windows lie flush with the
            image's borders.
        batch: windows per call of `probability`.
    Yields:
        float32 [K, rows, W] from top to bottom, on the device of `probability`: all rows of the
        image, each once. No more than the rows of one window are held at any time.
    """
    size = (image.shape[0], image.shape[1])
    height, width = (min(px, own) for px, own in zip(window_px, size, strict=True))
    tops = window_starts(size[0], height, stride_px[0])
    lefts = window_starts(size[1], width, stride_px[1])
    weight = torch.outer(border_weights(height), border_weights(width))
    band: _Band | None = None
    for top, below in pairwise([*tops, size[0]]):
        for start in range(0, len(lefts), batch):
            chosen = lefts[start : start + batch]
            crops = [image[top : top + height, left : left + width] for left in chosen]
            found = probability(as_input(crops))
            band = band or _Band(found, weight, size[1])
            for left, one in zip(chosen, found.unbind(), strict=True):
                band.add(left, one)
        assert band is not None, "an image of at least one pixel"
        yield band.finished(below - top)


def as_input(images: list[UInt8Array]) -> Tensor:
    """Images [H, W, 3] of one size → float32 [B, 3, H, W] in [0, 1]."""
    stacked = torch.from_numpy(np.stack(images))
    return stacked.permute(0, 3, 1, 2).to(torch.float32) / 255.0


class _Band:
    """The rows that the present windows cover."""

    def __init__(self, like: Tensor, weight: Tensor, width: int) -> None:
        """`like`: probabilities [B, K, h, w] of some windows; `width`: of the image."""
        self._weight = weight.to(like.device)
        self._mean = like.new_zeros(like.shape[1], like.shape[2], width)
        self._weights = like.new_zeros(like.shape[2], width)

    def add(self, left: int, found: Tensor) -> None:
        """Take in a window [K, h, w] whose first column is `left`."""
        columns = slice(left, left + found.shape[-1])
        self._weights[:, columns] += self._weight
        share = self._weight / self._weights[:, columns]
        mean = self._mean[..., columns]
        mean += share * (found - mean)

    def finished(self, num_rows: int) -> Tensor:
        """The uppermost rows [K, num_rows, W], which no further window covers; the others move
        up."""
        rows = self._mean[:, :num_rows].clone()
        self._mean = _moved_up(self._mean, num_rows)
        self._weights = _moved_up(self._weights, num_rows)
        return rows


def _moved_up(maps: Tensor, num_rows: int) -> Tensor:
    """[…, h, W] without its uppermost rows, as many empty ones below."""
    moved = torch.zeros_like(maps)
    if num_rows < maps.shape[-2]:
        moved[..., : maps.shape[-2] - num_rows, :] = maps[..., num_rows:, :]
    return moved
