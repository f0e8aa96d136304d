"""Adaptive label injection: a partner brings labelled pixels along, the more often the less its own
labels are trusted (Zhao et al., 2023).

Source: ZhenZHAO/AugSeg, `augseg/dataset/augs_ALIA.py`. Differs from it: partners are neighbours in
the batch instead of a permutation of it, as for every mixing here.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rml_trainers.noise.mixing import Move, inside_boxes, partners, paste


@dataclass(frozen=True, eq=False)
class InjectionDraw:
    """Boxes and coins of N crops."""

    boxes: Tensor
    """int64 [N, 1, 4]: what each image takes from its partner, as `BoxDraw.boxes`."""
    label_boxes: Tensor
    """int64 [N, 1, 4]: what each image takes from a labelled one before its partner sees it."""
    coins: Tensor
    """float32 [N], uniform in [0, 1): an image takes labelled pixels where it is larger than the
    trust in the image's own labels."""
    partner: Tensor

    @classmethod
    def of(cls, boxes: Tensor, label_boxes: Tensor, coins: Tensor) -> "InjectionDraw":
        return cls(boxes, label_boxes, coins, partners(len(boxes)))

    def slice(self, start: int, stop: int) -> "InjectionDraw":
        own = slice(start, stop)
        return InjectionDraw.of(self.boxes[own], self.label_boxes[own], self.coins[own])

    def map(self, move: Move) -> "InjectionDraw":
        return InjectionDraw(
            move(self.boxes), move(self.label_boxes), move(self.coins), move(self.partner)
        )

    def given(self, label: Tensor) -> "InjectionDraw":
        return self

    def apply(self, maps: Tensor) -> Tensor:
        """Mix without labelled pixels."""
        return paste(maps, inside_boxes(self.boxes, _size(maps)), self.partner)

    def inject(self, maps: Tensor, labelled: Tensor, trust: Tensor) -> Tensor:
        """Mix maps [N, ..., H, W] of any type; outside its box every image stays as it was.

        Args:
            labelled: the same of labelled images [M, ..., H, W]; image i takes from number i · M /
                N, rounded down, so that every worker's share of a batch takes from its own.
            trust: float [N] in [0, 1], in the labels of each image.
        """
        size = _size(maps)
        source = torch.arange(len(maps), device=maps.device) * len(labelled) // len(maps)
        taken = inside_boxes(self.label_boxes, size) & (self.coins > trust)[:, None, None]
        pasted = inside_boxes(self.boxes, size)
        shape = (len(maps), *(1,) * (maps.ndim - 3), *size)
        brought = torch.where(taken.view(shape), labelled.index_select(0, source), maps)
        return torch.where(pasted.view(shape), brought.index_select(0, self.partner), maps)


@dataclass(frozen=True, kw_only=True)
class LabelInjection:
    """Recipe: boxes of one size per batch and kind, as wide and high a share of the crop, with a
    centre of its own per image; what overhangs the crop is cut off."""

    image_beta: tuple[float, float]
    """Parameters of the Beta distribution of the share of the area that is *not* taken from the
    partner."""
    label_beta: tuple[float, float]
    """The same for what is taken from labelled images."""

    def draw(
        self, rng: np.random.Generator, num_images: int, crop_px: tuple[int, int]
    ) -> InjectionDraw:
        label_boxes = _boxes(rng, num_images, crop_px, self.label_beta)
        boxes = _boxes(rng, num_images, crop_px, self.image_beta)
        coins = torch.from_numpy(rng.random(num_images).astype(np.float32))
        return InjectionDraw.of(torch.from_numpy(boxes), torch.from_numpy(label_boxes), coins)


def _boxes(
    rng: np.random.Generator, num_images: int, crop_px: tuple[int, int], beta: tuple[float, float]
) -> npt.NDArray[np.int64]:
    """[N, 1, 4] boxes of one size, with centres from an eighth of the crop on to its end."""
    share = np.sqrt(1.0 - rng.beta(*beta))
    edges = []
    for length in crop_px:
        half = int(length * share) // 2
        centre = rng.integers(length // 8, length, size=num_images)
        edges.append(np.clip(np.stack((centre - half, centre + half)), 0, length))
    (top, bottom), (left, right) = edges
    return np.stack((top, left, bottom, right), axis=1)[:, None]


def _size(maps: Tensor) -> tuple[int, int]:
    return (maps.shape[-2], maps.shape[-1])
