"""Random scale, crop and flip: drawn as windows of the source image, cut from it without touching
the rest.

A crop pixel takes what lies under its centre in the window; images, labels, padding and stored p⁰
share this mapping.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from rml_trainers.noise.config import GeometryConfig

UInt8Array = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class CropWindow:
    """Rectangle of the source image, in its pixels, that becomes one crop.

    It may overhang the image at the bottom and on the right (padding), is resized to the crop and
    then flipped.
    """

    top: int
    left: int
    height: int
    width: int
    flip: bool


def draw_windows(
    rng: np.random.Generator, image_sizes: Sequence[tuple[int, int]], config: GeometryConfig
) -> list[CropWindow]:
    """One window per image of (height, width). An image smaller than the scaled crop is padded, not
    refused.

    The scale enlarges the image, so the window is the crop's size divided by it. Four numbers are
    drawn per image whatever the configuration, so one setting changes only what it is about.
    """
    smallest, largest = config.scale
    windows = []
    for (height, width), draw in zip(image_sizes, rng.random((len(image_sizes), 4)), strict=True):
        scale = smallest + (largest - smallest) * draw[0]
        rows, columns = (max(1, round(size / scale)) for size in config.crop_px)
        top = int(draw[1] * (max(0, height - rows) + 1))
        left = int(draw[2] * (max(0, width - columns) + 1))
        windows.append(
            CropWindow(top, left, rows, columns, flip=bool(draw[3] < config.flip_probability))
        )
    return windows


def may_overhang(config: GeometryConfig, size_px: tuple[int, int] | None) -> bool:
    """Whether a crop may be larger than its image.

    Args:
        size_px: height and width of all images; None: every image has its own, of which nothing is
            known.
    """
    if size_px is None:
        return True
    largest = (max(1, round(crop / config.scale[0])) for crop in config.crop_px)
    return any(window > size for window, size in zip(largest, size_px, strict=True))


def cut_image(
    image: UInt8Array,
    window: CropWindow,
    crop_px: tuple[int, int],
    fill: tuple[int, int, int],
    out: Tensor | None = None,
) -> Tensor:
    """Crop of an image [H, W, 3]: uint8 [3, h, w] (channels last in memory), padded with the colour
    `fill`.

    Bilinear with antialiasing; nothing is resized where window and crop have one size. `out`, uint8
    [h, w, 3], receives the pixels where it is given.
    """
    out = torch.empty((*crop_px, 3), dtype=torch.uint8) if out is None else out
    part = image[window.top : window.top + window.height, window.left : window.left + window.width]
    if (window.height, window.width) == crop_px:
        _place(part, out, fill)
    else:
        source = torch.empty((window.height, window.width, 3), dtype=torch.uint8)
        _place(part, source, fill)
        # On bytes with channels last this is several times faster than on floats, and exact integer
        # arithmetic.
        resized = functional.interpolate(
            source.permute(2, 0, 1)[None], crop_px, mode="bilinear", antialias=True
        )
        out.copy_(resized[0].permute(1, 2, 0))
    if window.flip:
        out.copy_(out.flip(1))
    return out.permute(2, 0, 1)


def cut_label(
    label: UInt8Array,
    window: CropWindow,
    crop_px: tuple[int, int],
    fill: int,
    out: Tensor | None = None,
) -> Tensor:
    """Crop of a label [H, W]: uint8 [h, w], nearest pixel, padded with `fill`; written into `out`
    where it is given."""
    out = torch.empty(crop_px, dtype=torch.uint8) if out is None else out
    out.fill_(fill)
    if (window.height, window.width) == crop_px:  # nothing to resize: rows are copied as they lie
        part = label[
            window.top : window.top + window.height, window.left : window.left + window.width
        ]
        height, width = part.shape
        out.numpy()[:height, _valid_columns(width, crop_px[1], window.flip)] = part[
            :, :: -1 if window.flip else 1
        ]
        return out
    rows, columns = _source_pixels(window, crop_px, label.shape)
    out.numpy()[: len(rows), _valid_columns(len(columns), crop_px[1], window.flip)] = label[rows][
        :, columns
    ]
    return out


def inside_mask(
    image_size: tuple[int, int],
    window: CropWindow,
    crop_px: tuple[int, int],
    out: Tensor | None = None,
) -> Tensor:
    """Which pixels of the crop lie in the image: bool [h, w]; written into `out` where it is
    given."""
    out = torch.empty(crop_px, dtype=torch.bool) if out is None else out
    rows, columns = _source_pixels(window, crop_px, image_size)
    out.fill_(False)
    out[: len(rows), _valid_columns(len(columns), crop_px[1], window.flip)] = True
    return out


def _place(part: UInt8Array, target: Tensor, fill: tuple[int, int, int]) -> None:
    """Copy pixels into the upper left of `target` [h, w, 3] and fill the rest."""
    height, width = part.shape[:2]
    pixels = target.numpy()
    pixels[:height, :width] = part
    pixels[height:] = fill
    pixels[:height, width:] = fill


def _source_pixels(
    window: CropWindow, crop_px: tuple[int, int], image_size: tuple[int, ...]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Source rows and columns under the centres of the crop's pixels that are not padding, in the
    crop's order."""
    rows, columns = (
        start + (2 * np.arange(size) + 1) * length // (2 * size)
        for start, length, size in (
            (window.top, window.height, crop_px[0]),
            (window.left, window.width, crop_px[1]),
        )
    )
    rows = rows[rows < image_size[0]]
    columns = columns[columns < image_size[1]]
    return rows, columns[::-1] if window.flip else columns


def _valid_columns(count: int, width: int, flip: bool) -> slice:
    """Columns of the crop that are not padding."""
    return slice(width - count, width) if flip else slice(0, count)
