"""CutMix: a box of one image pasted into another, the same boxes for images, pseudo labels and masks.

Source: CutMix (Yun et al., 2019) as used for segmentation by French et al. (2020). Boxes are drawn on the CPU; they
are applied by comparing pixel coordinates with the box's edges, without a loop and without host synchronisation.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rml_trainers.noise.config import NoiseConfig


@dataclass(frozen=True, eq=False)
class MixingDraw:
    """Boxes of N crops."""

    boxes: Tensor
    """int64 [N, 4]: top, left, bottom, right in pixels; bottom and right are the first outside."""
    partner: Tensor
    """int64 [N]: the image whose box is pasted into image i."""

    @classmethod
    def from_boxes(cls, boxes: Tensor) -> "MixingDraw":
        return cls(boxes, partners(boxes.shape[0]))

    def slice(self, start: int, stop: int) -> "MixingDraw":
        """Boxes of images start to stop - 1, which find their partners among themselves."""
        return MixingDraw.from_boxes(self.boxes[start:stop])

    def map(self, move: Callable[[Tensor], Tensor]) -> "MixingDraw":
        """The same draw with every tensor moved (to a device, to pinned memory)."""
        return MixingDraw(move(self.boxes), move(self.partner))


def partners(num_images: int) -> Tensor:
    """int64 [N]: neighbours in pairs, so that a slice of even start and length keeps its pairs; an odd last image
    takes from the first, a lone image from itself (which changes nothing)."""
    partner = torch.arange(num_images) ^ 1
    return torch.where(partner < num_images, partner, 0)


def draw_boxes(rng: np.random.Generator, num_images: int, crop_px: tuple[int, int], config: NoiseConfig) -> MixingDraw:
    """One box per image: share of the area uniform, aspect log-uniform, position uniform inside the crop."""
    height, width = crop_px
    area = rng.uniform(*config.cutmix_area, size=num_images)
    smallest, largest = config.cutmix_aspect
    aspect = np.exp(rng.uniform(math.log(smallest), math.log(largest), size=num_images))
    # A box too long for the crop is cut to it and widened instead, so that the area stays what was drawn.
    tall = np.clip(np.sqrt(area * aspect), area, 1.0)
    box_height = np.clip(np.rint(tall * height), 1, height).astype(np.int64)
    box_width = np.clip(np.rint(area / tall * width), 1, width).astype(np.int64)
    top = rng.integers(0, height - box_height, endpoint=True)
    left = rng.integers(0, width - box_width, endpoint=True)
    return MixingDraw.from_boxes(torch.from_numpy(np.stack((top, left, top + box_height, left + box_width), axis=1)))


def inside_boxes(boxes: Tensor, size_px: tuple[int, int]) -> Tensor:
    """bool [N, H, W]: True inside each image's box."""
    row = torch.arange(size_px[0], device=boxes.device)[None, :, None]
    column = torch.arange(size_px[1], device=boxes.device)[None, None, :]
    top, left, bottom, right = (edge[:, None, None] for edge in boxes.unbind(dim=1))
    return (row >= top) & (row < bottom) & (column >= left) & (column < right)


def apply_mixing(maps: Tensor, draw: MixingDraw) -> Tensor:
    """Paste the partner's box into every map of [N, ..., H, W], of any type."""
    assert maps.shape[0] == draw.boxes.shape[0], "the draw was made for another number of images"
    height, width = maps.shape[-2:]
    inside = inside_boxes(draw.boxes, (height, width))
    inside = inside.reshape(-1, *(1,) * (maps.ndim - 3), height, width)
    return torch.where(inside, maps.index_select(0, draw.partner), maps)
