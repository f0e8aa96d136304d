"""Random scale, crop and flip: drawn as windows of the source image, cut from it without touching the rest."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from rml_trainers.noise.config import GeometryConfig


@dataclass(frozen=True)
class CropWindow:
    """Rectangle of the source image, in its pixels, that becomes one crop.

    It may overhang the image at the bottom and on the right (padding), is resized to the crop and then flipped.
    """

    top: int
    left: int
    height: int
    width: int
    flip: bool


def draw_windows(
    rng: np.random.Generator, image_sizes: Sequence[tuple[int, int]], config: GeometryConfig
) -> list[CropWindow]:
    """One window per image of (height, width). An image smaller than the scaled crop is padded, not refused."""
    windows = []
    for height, width in image_sizes:
        scale = rng.uniform(*config.scale)
        rows, columns = (max(1, round(size / scale)) for size in config.crop_px)
        top = int(rng.integers(0, max(0, height - rows) + 1))
        left = int(rng.integers(0, max(0, width - columns) + 1))
        flip = bool(rng.random() < config.flip_probability)
        windows.append(CropWindow(top, left, rows, columns, flip))
    return windows


def cut_image(
    image: npt.NDArray[np.uint8], window: CropWindow, crop_px: tuple[int, int], fill: tuple[int, int, int]
) -> Tensor:
    """Crop of an image [H, W, 3]: uint8 [3, h, w], bilinear with antialiasing, padded with `fill`."""
    part = image[window.top : window.top + window.height, window.left : window.left + window.width]
    if part.shape[:2] != (window.height, window.width):
        padded = np.empty((window.height, window.width, 3), dtype=np.uint8)
        padded[:] = fill
        padded[: part.shape[0], : part.shape[1]] = part
        part = padded
    crop = torch.from_numpy(np.ascontiguousarray(part)).permute(2, 0, 1)
    if part.shape[:2] != crop_px:
        resized = functional.interpolate(
            crop[None].float(), crop_px, mode="bilinear", antialias=True, align_corners=False
        )
        crop = resized[0].round_().clamp_(0, 255).to(torch.uint8)
    return crop.flip(-1) if window.flip else crop


def cut_label(label: npt.NDArray[np.uint8], window: CropWindow, crop_px: tuple[int, int], fill: int) -> Tensor:
    """Crop of a label [H, W]: uint8 [h, w], nearest pixel, padded with `fill`."""
    rows = _nearest(window.top, window.height, crop_px[0])
    columns = _nearest(window.left, window.width, crop_px[1])
    if window.flip:
        columns = columns[::-1]
    crop = np.full(crop_px, fill, dtype=np.uint8)
    inside_rows, inside_columns = rows < label.shape[0], columns < label.shape[1]
    crop[np.ix_(inside_rows, inside_columns)] = label[np.ix_(rows[inside_rows], columns[inside_columns])]
    return torch.from_numpy(crop)


def inside_mask(image_size: tuple[int, int], window: CropWindow, crop_px: tuple[int, int]) -> Tensor:
    """Which pixels of the crop lie in the image: bool [h, w]."""
    rows = _nearest(window.top, window.height, crop_px[0]) < image_size[0]
    columns = _nearest(window.left, window.width, crop_px[1]) < image_size[1]
    if window.flip:
        columns = columns[::-1]
    return torch.from_numpy(rows[:, None] & columns[None, :])


def _nearest(start: int, length: int, size: int) -> npt.NDArray[np.int64]:
    """Source pixel under the centre of each crop pixel along one axis."""
    return start + np.minimum(((np.arange(size) + 0.5) * (length / size)).astype(np.int64), length - 1)
