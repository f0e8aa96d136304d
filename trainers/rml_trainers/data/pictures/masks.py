"""Mask files: the numbers or colours that they hold, exactly as stored.

A lossy format (JPEG, lossy WebP, AVIF, JPEG 2000, TIFF with JPEG inside) is refused whatever its
suffix says: it changes class numbers along every edge. Grey samples of 1, 2 or 4 bits keep their
numbers, which Pillow would stretch to 0…255 as a viewer wants them.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rml_trainers.data.pictures.opening import OpenPicture, opened
from rml_trainers.errors import DataError

UInt8Array = npt.NDArray[np.uint8]
NumberArray = npt.NDArray[Any]
"""[H, W] of uint8, uint16 or int32."""

ALPHA_DROPPED = "alpha channel of a mask dropped"
GREY_AS_RGB = "grey mask stored as RGB"

_STRETCHED = {"L;2": 85, "L;4": 17, "L;2R": 85, "L;4R": 17}
"""Factor by which Pillow stretches grey samples of few bits."""
_INVERTED = re.compile(r";\d*I")
"""TIFF whose zero is white: Pillow inverts what is stored."""
_DEEP = ("I;16", "I;16B", "I;16L", "I;16N", "I")


@dataclass(frozen=True)
class MaskFile:
    """A decoded mask file, upright."""

    numbers: NumberArray | None
    """[H, W] grey or palette numbers; None for a mask that has colours only."""
    rgb: UInt8Array | None
    """[H, W, 3] of a mask stored in colour."""
    palette: UInt8Array | None
    """[N, 3] colour of each palette number."""
    kind: str
    notes: tuple[str, ...]

    @property
    def mode(self) -> str:
        """How samples are stored, without the format."""
        return self.kind.partition(" ")[2]

    @property
    def size_px(self) -> tuple[int, int]:
        """Height and width."""
        pixels = self.numbers if self.numbers is not None else self.rgb
        assert pixels is not None
        return pixels.shape[0], pixels.shape[1]

    def colours(self) -> UInt8Array:
        """[H, W, 3] as a viewer shows it: from the palette, of grey the same in each channel.

        Raises ValueError for grey of more than 8 bits, which no viewer shows as a colour.
        """
        if self.rgb is not None:
            return self.rgb
        assert self.numbers is not None
        if self.palette is not None:
            return np.asarray(self.palette[self.numbers])
        if self.numbers.dtype != np.uint8:
            raise ValueError("grey of more than 8 bits has no colours")
        return np.repeat(self.numbers[..., None], 3, axis=2)


def read_mask(path: Path) -> MaskFile:
    """Decode a mask file.

    Raises:
        DataError: a missing or damaged file, a lossy format, several frames, floating point or
            another mode that holds neither numbers nor colours.
    """
    with opened(path, "mask") as file:
        if file.lossy:
            raise DataError(
                f"{path}: mask in a lossy format ({file.format}), which changes class numbers "
                "along edges; export the masks again as PNG"
            )
        if file.num_frames > 1:
            raise DataError(
                f"{path}: mask with {file.num_frames} frames or pages; expected one with the "
                "class of every pixel"
            )
        if _INVERTED.search(file.stored_samples):
            raise DataError(
                f"{path}: mask with inverted grey (TIFF with WhiteIsZero), whose numbers programs "
                "read differently; save it as PNG"
            )
        return _decoded(file, path)


def _decoded(file: OpenPicture, path: Path) -> MaskFile:
    picture = file.picture
    mode = picture.mode
    notes = list(file.notes)
    if mode in ("PA", "LA", "RGBA"):
        notes.append(ALPHA_DROPPED)
    if mode in ("P", "PA"):
        numbers = np.asarray(picture.getchannel(0) if mode == "PA" else picture)
        return MaskFile(numbers, None, _palette(file), file.kind, tuple(notes))
    if mode in ("L", "LA", "1"):
        grey = np.asarray(picture.getchannel(0) if mode == "LA" else picture).astype(np.uint8)
        numbers = grey // np.uint8(_STRETCHED.get(file.stored_samples, 1))
        return MaskFile(numbers, None, None, file.kind, tuple(notes))
    if mode in _DEEP:
        return MaskFile(_deep(np.asarray(picture)), None, None, file.kind, tuple(notes))
    if mode in ("RGB", "RGBA") and ";16" not in file.stored_samples:
        rgb = np.asarray(picture.convert("RGB"))
        is_grey = bool((rgb[..., :1] == rgb[..., 1:]).all())
        if is_grey:
            notes.append(GREY_AS_RGB)
        numbers_or_none = rgb[..., 0].copy() if is_grey else None
        return MaskFile(numbers_or_none, rgb, None, file.kind, tuple(notes))
    raise DataError(
        f"{path}: mask of mode {file.kind}; expected class numbers in grey (8 or 16 bits) or "
        "palette, or 8-bit RGB colours"
    )


def _deep(values: NumberArray) -> NumberArray:
    """Numbers of more than 8 bits, in the smallest type of ours that holds them."""
    if values.size and values.min() >= 0 and values.max() < 2**16:
        return values.astype(np.uint16)
    return values.astype(np.int32)


def _palette(file: OpenPicture) -> UInt8Array:
    """[256, 3] colours of the palette, black where it is shorter."""
    stored = np.asarray(file.picture.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(stored)] = stored[:256]
    return colours
