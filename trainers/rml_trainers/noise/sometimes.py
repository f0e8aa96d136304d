"""Mixing that a whole batch has or has not, and the boxes that go with it (Liu et al., ReCo, 2021;
Wang et al., U2PL, 2022)."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from rml_trainers.noise.mixing import BoxDraw, Mixing, MixingDraw, Move, inside_boxes


@dataclass(frozen=True, eq=False)
class SometimesDraw:
    """Mixing of N crops, and whether they have it."""

    mixing: MixingDraw
    mixed: Tensor
    """bool [N]: all of them alike."""

    @property
    def partner(self) -> Tensor:
        return self.mixing.partner

    def slice(self, start: int, stop: int) -> "SometimesDraw":
        return SometimesDraw(self.mixing.slice(start, stop), self.mixed[start:stop])

    def map(self, move: Move) -> "SometimesDraw":
        return SometimesDraw(self.mixing.map(move), move(self.mixed))

    def given(self, label: Tensor) -> "SometimesDraw":
        return replace(self, mixing=self.mixing.given(label))

    def apply(self, maps: Tensor) -> Tensor:
        mixed = self.mixed.view(-1, *(1,) * (maps.ndim - 1))
        return torch.where(mixed, self.mixing.apply(maps), maps)

    def covered(self, size_px: tuple[int, int]) -> Tensor:
        """bool [N, H, W]: what lies in the boxes, for a method that hides it instead."""
        assert isinstance(self.mixing, BoxDraw), "the recipe draws boxes"
        return inside_boxes(self.mixing.boxes, size_px) & self.mixed[:, None, None]


@dataclass(frozen=True, kw_only=True)
class Sometimes:
    """A mixing that all crops of a batch have, or none."""

    mixing: Mixing
    probability: float
    """That they have it."""

    def draw(
        self, rng: np.random.Generator, num_images: int, crop_px: tuple[int, int]
    ) -> SometimesDraw:
        mixed = torch.full((num_images,), bool(rng.random() < self.probability))
        return SometimesDraw(self.mixing.draw(rng, num_images, crop_px), mixed)


@dataclass(frozen=True)
class HalfBox:
    """One box per image with half of the image's area: wider than half of it by any width, all
    equally likely, and as high as the area asks for."""

    def draw(self, rng: np.random.Generator, num_images: int, crop_px: tuple[int, int]) -> BoxDraw:
        height, width = crop_px
        narrowest = max(1, min(width // 2 + 1, width - 1))
        box_width = rng.integers(narrowest, max(width, narrowest + 1), size=num_images)
        of_area = np.rint(height * width / 2 / box_width).astype(np.int64)
        box_height = np.clip(of_area, 1, height)
        left = rng.integers(0, width - box_width, endpoint=True)
        top = rng.integers(0, height - box_height, endpoint=True)
        boxes = np.stack((top, left, top + box_height, left + box_width), axis=1)
        return BoxDraw.from_boxes(torch.from_numpy(boxes[:, None]))
