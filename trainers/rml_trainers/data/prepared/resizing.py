"""Images and labels at another size: antialiased bilinear for images; nearest pixel or majority
vote for labels."""

import numpy as np
from PIL import Image

from rml_trainers.data.dataset import SizePx, UInt8Array


def resize_image(image: UInt8Array, size_px: SizePx) -> UInt8Array:
    """[H, W, 3] → [*size_px, 3] by antialiased bilinear."""
    return np.asarray(
        Image.fromarray(image).resize((size_px[1], size_px[0]), Image.Resampling.BILINEAR)
    )


def resized_to(image: UInt8Array, size_px: SizePx | None) -> UInt8Array:
    """The same for an image that may have that size already; None: any size is right."""
    if size_px is None or image.shape[:2] == size_px:
        return image
    return resize_image(image, size_px)


def resize_label(label: UInt8Array, size_px: SizePx) -> UInt8Array:
    """[H, W] → [*size_px] by nearest pixel: class numbers are never mixed."""
    return np.asarray(
        Image.fromarray(label).resize((size_px[1], size_px[0]), Image.Resampling.NEAREST)
    )


def vote_label(label: UInt8Array, size_px: SizePx) -> UInt8Array:
    """[H, W] → [*size_px]: the most frequent number of each block of pixels, the lowest one where
    several tie.

    As the conversion of CutMix-Seg does it. H and W are whole multiples of `size_px` (see
    `is_multiple`).
    """
    height, width = size_px
    assert is_multiple(label, size_px)
    blocks = label.reshape(height, label.shape[0] // height, width, label.shape[1] // width)
    pixels = (
        blocks.transpose(1, 3, 0, 2).reshape(-1, height, width).astype(np.int32)
    )  # [pixel of the block, h, w]
    # One key per pixel: how many of its block are like it, then its number upside down, so that low
    # numbers win ties.
    keys = np.stack([256 * (pixels == one).sum(axis=0) + 255 - one for one in pixels])
    winners: UInt8Array = (255 - keys.max(axis=0) % 256).astype(np.uint8)
    return winners


def is_multiple(label: UInt8Array, size_px: SizePx) -> bool:
    """Whether a label's height and width are whole multiples of a size."""
    return all(length % size == 0 for length, size in zip(label.shape, size_px, strict=True))
