"""Mixing: what of its partner goes into each image of a batch, the same for images, pseudo labels
and masks.

A recipe (`CutMix`, and those of `mixing_masks.py`) draws on the CPU for the global batch; the draw
is applied on the device, without a loop over images and without host synchronisation. Partners are
found inside a worker's share.

CutMix: a box of one image pasted into another. Source: Yun et al. (2019), as used for segmentation
by French et al. (2020).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

Move = Callable[[Tensor], Tensor]


class MixingDraw(Protocol):
    """What is drawn for the mixing of N crops; every tensor has the crops as its first
    dimension."""

    @property
    def partner(self) -> Tensor:
        """int64 [N]: the image that image i takes from."""
        ...

    def slice(self, start: int, stop: int) -> "MixingDraw":
        """Draw of images start to stop - 1, which find their partners among themselves."""
        ...

    def map(self, move: Move) -> "MixingDraw":
        """The same draw with every tensor moved (to a device, to pinned memory)."""
        ...

    def given(self, label: Tensor) -> "MixingDraw":
        """The draw once the labels of the unmixed crops are known, int64 [N, H, W] with 255 where
        there is none.

        Itself for every kind whose masks do not depend on them.
        """
        ...

    def apply(self, maps: Tensor) -> Tensor:
        """Mix [N, ..., H, W] of any type."""
        ...


class Mixing(Protocol):
    """Recipe of a mixing."""

    def draw(
        self, rng: np.random.Generator, num_images: int, crop_px: tuple[int, int]
    ) -> MixingDraw:
        """Draw for `num_images` crops of height and width `crop_px`."""
        ...


def partners(num_images: int) -> Tensor:
    """int64 [N]: neighbours in pairs, so that a slice of even start and length keeps its pairs; an
    odd last image takes from the first, a lone image from itself (which changes nothing)."""
    partner = torch.arange(num_images) ^ 1
    return torch.where(partner < num_images, partner, 0)


def paste(maps: Tensor, pasted: Tensor, partner: Tensor) -> Tensor:
    """Take the partner's value wherever `pasted` [N, H, W] is true, in maps [N, ..., H, W] of any
    type."""
    assert maps.shape[0] == partner.shape[0], "the draw was made for another number of images"
    height, width = maps.shape[-2:]
    pasted = pasted.reshape(-1, *(1,) * (maps.ndim - 3), height, width)
    return torch.where(pasted, maps.index_select(0, partner), maps)


@dataclass(frozen=True, eq=False)
class BoxDraw:
    """Boxes of N crops."""

    boxes: Tensor
    """int64 [N, M, 4]: top, left, bottom, right in pixels; bottom and right are the first
    outside."""
    partner: Tensor

    @classmethod
    def from_boxes(cls, boxes: Tensor) -> "BoxDraw":
        return cls(boxes, partners(boxes.shape[0]))

    def slice(self, start: int, stop: int) -> "BoxDraw":
        return BoxDraw.from_boxes(self.boxes[start:stop])

    def map(self, move: Move) -> "BoxDraw":
        return BoxDraw(move(self.boxes), move(self.partner))

    def given(self, label: Tensor) -> "BoxDraw":
        return self

    def apply(self, maps: Tensor) -> Tensor:
        height, width = maps.shape[-2:]
        return paste(maps, inside_boxes(self.boxes, (height, width)), self.partner)


@dataclass(frozen=True, kw_only=True)
class CutMix:
    """Boxes per image: share of the area uniform, aspect log-uniform, position uniform inside the
    crop."""

    area: tuple[float, float]
    """Smallest and largest share of the image that the boxes cover together (where they do not
    overlap)."""
    aspect: tuple[float, float] | None = None
    """Smallest and largest height-to-width ratio relative to the crop's; None: every box that fits
    with its area (French et al.)."""
    num_boxes: int = 1
    """Boxes per image; where two overlap, the image keeps its own pixels (French et al.: they
    invert)."""
    probability: float = 1.0
    """Chance that an image takes anything at all."""

    def draw(self, rng: np.random.Generator, num_images: int, crop_px: tuple[int, int]) -> BoxDraw:
        height, width = crop_px
        shape = (num_images, self.num_boxes)
        area = rng.uniform(*self.area, size=shape)
        if self.aspect is None:
            aspect = np.exp(rng.uniform(np.log(area), -np.log(area)))
        else:
            smallest, largest = self.aspect
            aspect = np.exp(rng.uniform(math.log(smallest), math.log(largest), size=shape))
        # A box too long for the crop is cut to it and widened instead, so that the area stays what
        # was drawn.
        tall = np.clip(np.sqrt(area * aspect), area, 1.0)
        shrink = math.sqrt(1 / self.num_boxes)
        box_height = np.clip(np.rint(tall * shrink * height), 1, height).astype(np.int64)
        box_width = np.clip(np.rint(area / tall * shrink * width), 1, width).astype(np.int64)
        top = rng.integers(0, height - box_height, endpoint=True)
        left = rng.integers(0, width - box_width, endpoint=True)
        boxes = np.stack((top, left, top + box_height, left + box_width), axis=2)
        if self.probability < 1:
            boxes[rng.random(num_images) >= self.probability] = 0
        return BoxDraw.from_boxes(torch.from_numpy(boxes))


def inside_boxes(boxes: Tensor, size_px: tuple[int, int]) -> Tensor:
    """bool [N, H, W]: True inside an odd number of each image's boxes [N, M, 4]."""
    row = torch.arange(size_px[0], device=boxes.device)[None, :, None]
    column = torch.arange(size_px[1], device=boxes.device)[None, None, :]
    inside = torch.zeros((), dtype=torch.bool, device=boxes.device)
    for box in boxes.unbind(dim=1):
        top, left, bottom, right = (edge[:, None, None] for edge in box.unbind(dim=1))
        inside = inside ^ ((row >= top) & (row < bottom) & (column >= left) & (column < right))
    return inside
