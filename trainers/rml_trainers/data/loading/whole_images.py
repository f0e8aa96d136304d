"""Whole images, a few at a time: to be scored, or to be passed through once at the start of a
stage."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rml_trainers import IGNORE_LABEL
from rml_trainers.data.dataset import SizePx, Subset
from rml_trainers.data.prepared.cache import PreparedData


@dataclass(frozen=True, kw_only=True)
class ScoredImages:
    """Images with their labels, of one size or on one canvas."""

    image: Tensor
    """uint8 [B, 3, H, W]; zero outside an image that is smaller than the canvas."""
    label: Tensor
    """uint8 [B, H, W]; 255 outside."""
    inside: Tensor | None
    """bool [B, H, W], which pixels are image; None without a canvas."""

    def to(self, device: torch.device) -> "ScoredImages":
        """Copy to a device; a GPU is not waited for."""

        def move(tensor: Tensor) -> Tensor:
            return (
                tensor.pin_memory().to(device, non_blocking=True)
                if device.type == "cuda"
                else tensor.to(device)
            )

        inside = None if self.inside is None else move(self.inside)
        return ScoredImages(image=move(self.image), label=move(self.label), inside=inside)


def scored_images(
    data: PreparedData,
    subset: Subset,
    names: Sequence[str],
    batch_size: int,
    *,
    canvas_px: SizePx | None = None,
    rank: int = 0,
    world_size: int = 1,
) -> Iterator[ScoredImages]:
    """Whole images with labels; workers take turns.

    Images of one size come together. On a canvas any images do: each lies in its upper left corner.
    """
    mine = [data.index(subset, name) for name in names[rank::world_size]]
    if canvas_px is None:
        for group in _same_size(data, subset, mine, batch_size):
            label = torch.from_numpy(np.stack([_label(data, subset, i) for i in group]))
            yield ScoredImages(image=_stacked(data, subset, group), label=label, inside=None)
        return
    for start in range(0, len(mine), batch_size):
        yield _on_canvas(data, subset, mine[start : start + batch_size], canvas_px)


def whole_images(
    data: PreparedData, names: Sequence[str], batch_size: int, rank: int = 0, world_size: int = 1
) -> Iterator[tuple[tuple[str, ...], Tensor]]:
    """Names and uint8 [B, 3, H, W] of whole training images, images of one size together; workers
    take turns."""
    known = data.names("train")
    mine = [data.index("train", name) for name in names[rank::world_size]]
    for group in _same_size(data, "train", mine, batch_size):
        yield tuple(known[i] for i in group), _stacked(data, "train", group)


def _on_canvas(
    data: PreparedData, subset: Subset, group: Sequence[int], canvas_px: SizePx
) -> ScoredImages:
    image = np.zeros((len(group), *canvas_px, 3), np.uint8)
    label = np.full((len(group), *canvas_px), IGNORE_LABEL, np.uint8)
    inside = np.zeros((len(group), *canvas_px), np.bool_)
    for place, i in enumerate(group):
        height, width = data.image_size(subset, i)
        image[place, :height, :width] = data.image(subset, i)
        label[place, :height, :width] = _label(data, subset, i)
        inside[place, :height, :width] = True
    return ScoredImages(
        image=torch.from_numpy(image).permute(0, 3, 1, 2),
        label=torch.from_numpy(label),
        inside=torch.from_numpy(inside),
    )


def _label(
    data: PreparedData, subset: Subset, i: int
) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    label = data.label(subset, i)
    assert label is not None, "an image to be scored without a label"
    return label


def _stacked(data: PreparedData, subset: Subset, group: Sequence[int]) -> Tensor:
    return torch.from_numpy(np.stack([data.image(subset, i) for i in group])).permute(0, 3, 1, 2)


def _same_size(
    data: PreparedData, subset: Subset, indices: Sequence[int], batch_size: int
) -> Iterator[list[int]]:
    by_size: dict[tuple[int, int], list[int]] = {}
    for i in indices:
        by_size.setdefault(data.image_size(subset, i), []).append(i)
    for same in by_size.values():
        for start in range(0, len(same), batch_size):
            yield same[start : start + batch_size]
