"""Image files as RGB with 8 bits per channel.

The rules, all of them told in the set's account:

| the file has | what becomes of it |
|---|---|
| RGB, grey, palette, black and white; grey of 1, 2 or 4 bits | RGB as a viewer shows it |
| an alpha channel or a transparent colour | dropped; the colours below it count |
| 16 bits per channel in colour | the upper 8 bits |
| CMYK | the plain formula without colour profiles |
| grey of 16 or 32 bits or floating point | refused, unless `grey_range` says what is black |
| anything else (LAB, more than four channels) | refused by name |

Colour profiles (ICC) are not applied.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from rml_trainers.data.pictures.opening import OpenPicture, opened
from rml_trainers.errors import DataError

UInt8Array = npt.NDArray[np.uint8]
GreyRange = tuple[int, int]
"""Values of a grey image of more than 8 bits that become black and white."""

ALPHA_DROPPED = "alpha channel dropped"
UPPER_BITS = "16 bits per channel: the upper 8 are kept"
FROM_CMYK = "CMYK converted without colour profile"
RANGE_APPLIED = "deep grey mapped by grey_range"

_PLAIN = ("RGB", "L", "P", "1", "RGBX")
_WITH_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")


@dataclass(frozen=True)
class ImageFile:
    """A decoded image file."""

    pixels: UInt8Array
    """[H, W, 3] RGB, upright."""
    kind: str
    """Format and samples as stored, such as "JPEG RGB"."""
    notes: tuple[str, ...]
    """What was done to it, in words that the account counts."""


def read_image(path: Path, grey_range: GreyRange | None = None) -> ImageFile:
    """Decode an image file, upright, as RGB with 8 bits per channel.

    Args:
        path: the file.
        grey_range: values of deep grey images that become black and white.

    Raises:
        DataError: a missing or damaged file, one larger than the limit, or one whose samples have
            no rule above.
    """
    with opened(path, "image") as file:
        if file.stored_mode.startswith(("I", "F")):
            return _deep_grey(file, path, grey_range)
        notes = list(file.notes)
        picture = file.picture
        if picture.mode == "CMYK":
            notes.append(FROM_CMYK)
        elif picture.mode in _WITH_ALPHA or "transparency" in picture.info:
            notes.append(ALPHA_DROPPED)
        elif picture.mode not in _PLAIN:
            raise DataError(
                f"{path}: image of mode {picture.mode}; expected RGB, grey, palette or CMYK. Save "
                "it as RGB"
            )
        if ";16" in file.stored_samples:
            notes.append(UPPER_BITS)
        return ImageFile(np.asarray(_as_rgb(picture)), file.kind, tuple(notes))


def _as_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode in ("RGBa", "La"):
        picture = picture.convert("RGBA" if picture.mode == "RGBa" else "LA")
    return picture.convert("RGB")


def _deep_grey(file: OpenPicture, path: Path, grey_range: GreyRange | None) -> ImageFile:
    values = np.asarray(file.picture)
    if grey_range is None:
        found = f"its values lie from {values.min():g} to {values.max():g}" if values.size else ""
        raise DataError(
            f"{path}: image of mode {file.stored_mode}; expected 8 bits per channel. For deep grey "
            f"images say which values are black and white with data.grey_range (folder, pairs); "
            f"{found}"
        )
    low, high = grey_range
    share = (values.astype(np.float64) - low) / (high - low)
    grey = (np.clip(np.nan_to_num(share), 0, 1) * 255 + 0.5).astype(np.uint8)
    pixels = np.repeat(grey[..., None], 3, axis=2)
    return ImageFile(pixels, file.kind, (*file.notes, RANGE_APPLIED))
