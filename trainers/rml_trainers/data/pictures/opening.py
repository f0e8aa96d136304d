"""A picture file, opened, checked for its size, decoded and turned upright.

Pillow's own guard against huge pictures is one global number that every user of the process shares.
It is neither read nor changed here: the limit is ours, and settable (`MAX_MEGAPIXELS_VARIABLE`).
"""

import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO

from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError

from rml_trainers.errors import ConfigError, DataError

FORMATS = ("PNG", "JPEG", "BMP", "DIB", "TIFF", "WEBP", "GIF", "PPM", "AVIF", "JPEG2000")
"""Formats that are read, by Pillow's names; what a file is follows from its bytes and not from its
suffix. Formats that run other programs (EPS) or fetch other files are not among them."""
MAX_MEGAPIXELS_VARIABLE = "RML_MAX_MEGAPIXELS"
DEFAULT_MAX_MEGAPIXELS = 178.956970
"""Where Pillow refuses a picture too: a small file can decode into more memory than there is."""

EXIF_UNREADABLE = "EXIF data that cannot be read: taken as upright"
FIRST_FRAME = "several frames or pages: the first counts"

# Everything Pillow raises on bytes that are not the picture they claim to be (it has no common base
# class for them).
BROKEN: tuple[type[Exception], ...] = (
    *(OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError),
    *(struct.error, zlib.error, OverflowError, MemoryError),
)
_TURNED = range(2, 9)
"""EXIF orientations other than upright."""


@dataclass(frozen=True)
class OpenPicture:
    """A decoded picture as its viewer shows it, and what had to be done for that."""

    picture: Image.Image
    format: str
    """PNG, JPEG, …"""
    stored_mode: str
    """Pillow's mode before any conversion: L, P, RGB, I;16 …"""
    stored_samples: str
    """Pillow's name of the samples in the file, such as `L;2` or `RGB;16B`."""
    num_frames: int
    lossy: bool
    """Whether the file's pixels are not exactly those that were saved."""
    notes: tuple[str, ...]

    @property
    def kind(self) -> str:
        """Format and samples for a person, such as "PNG P" or "TIFF I;16"."""
        samples = self.stored_samples if ";16" in self.stored_samples else self.stored_mode
        return f"{self.format} {samples}"


@contextmanager
def opened(path: Path, what: str) -> Iterator[OpenPicture]:
    """A picture file, decoded and turned upright by its EXIF orientation.

    Args:
        path: the file.
        what: "image" or "mask", for messages.

    Raises:
        DataError: no file, a folder, not a picture, damaged, or larger than the limit. What the
            body of the `with` finds wrong with the bytes is told the same way.
    """
    try:
        with path.open("rb") as file, _recognised(file, path, what) as picture:
            _check_size(picture, path)
            yield _upright(picture)
    except FileNotFoundError as error:
        link = "a broken symbolic link" if path.is_symlink() else f"{what} missing"
        raise DataError(f"{path}: {link}") from error
    except IsADirectoryError as error:
        raise DataError(f"{path}: is a folder; expected one {what} file") from error
    except PermissionError as error:
        raise DataError(f"{path}: {what} cannot be read: {error.strerror}") from error
    except BROKEN as error:
        raise DataError(f"{path}: corrupt or truncated {what} ({_reason(error)})") from error


def max_pixels() -> int:
    """Largest number of pixels of a picture. Raises ConfigError for a limit that is no number."""
    text = os.environ.get(MAX_MEGAPIXELS_VARIABLE)
    if text is None:
        return round(DEFAULT_MAX_MEGAPIXELS * 1e6)
    try:
        limit = float(text)
    except ValueError:
        limit = -1.0
    if not 0 < limit < 1e9:
        raise ConfigError(
            f"{MAX_MEGAPIXELS_VARIABLE} = {text!r}: expected a number of megapixels above 0"
        )
    return round(limit * 1e6)


def _recognised(file: BinaryIO, path: Path, what: str) -> ImageFile.ImageFile:
    """The picture of the first format whose reader takes the file; nothing is decoded yet.

    `Image.open` would do the same and then apply Pillow's global size limit.
    """
    prefix = file.read(16)
    if not prefix:
        raise UnidentifiedImageError("the file is empty")
    # Some of Pillow's tests take it for granted that there are so many bytes.
    prefix = prefix.ljust(16, b"\0")
    reasons = []
    for name in _formats():
        factory, accepts = Image.OPEN[name]
        if accepts is None or accepts(prefix) is not True:
            continue
        file.seek(0)
        try:
            return factory(file, str(path))
        except (SyntaxError, IndexError, TypeError, struct.error) as error:
            reasons.append(str(error))
    if reasons:
        raise UnidentifiedImageError("; ".join(reasons))
    raise UnidentifiedImageError(f"not a picture; {what}s are {', '.join(FORMATS)}")


@cache
def _formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this Pillow was built with."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _check_size(picture: ImageFile.ImageFile, path: Path) -> None:
    width, height = picture.size
    limit = max_pixels()
    if width * height > limit:
        raise DataError(
            f"{path}: too large: {width}×{height} are {width * height / 1e6:.0f} megapixels, the "
            f"limit is {limit / 1e6:.0f}. Make it smaller, or set {MAX_MEGAPIXELS_VARIABLE} to "
            "more megapixels"
        )


def _upright(picture: ImageFile.ImageFile) -> OpenPicture:
    """Decode the first frame and turn it as its EXIF orientation says."""
    mode = picture.mode
    samples = _samples(picture)
    _check_bmp(picture, samples)
    notes = []
    kind = "JPEG" if picture.format == "MPO" else str(picture.format)
    # A JPEG with several pictures (MPO) is a photograph with its previews.
    num_frames = 1 if kind == "JPEG" else int(getattr(picture, "n_frames", 1))
    if num_frames > 1:
        notes.append(FIRST_FRAME)
    lossy = _is_lossy(picture, kind)
    # Pillow turns a TIFF while it decodes, and forgets the orientation then.
    of_tiff = _orientation(picture) if kind == "TIFF" else 1
    picture.load()
    orientation = of_tiff if kind == "TIFF" else _orientation(picture)
    if orientation is None:
        notes.append(EXIF_UNREADABLE)
    elif orientation in _TURNED:
        if kind != "TIFF":
            ImageOps.exif_transpose(picture, in_place=True)
        notes.append(f"turned by EXIF orientation {orientation}")
    return OpenPicture(picture, kind, mode, samples, num_frames, lossy, tuple(notes))


def _orientation(picture: Image.Image) -> int | None:
    """EXIF orientation, 1 where there is none, None where the EXIF data are damaged: the pixels may
    be sound all the same."""
    try:
        return int(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except BROKEN:
        return None


def _samples(picture: ImageFile.ImageFile) -> str:
    """Pillow's name of how the file stores its samples (`L;2`: grey, two bits)."""
    if not picture.tile:
        return picture.mode
    args = picture.tile[0].args
    first = args[0] if isinstance(args, tuple) and args else args
    return first if isinstance(first, str) else picture.mode


def _check_bmp(picture: ImageFile.ImageFile, samples: str) -> None:
    """Refuse a BMP whose grey palette Pillow takes for plain grey although its samples have another
    depth: the pixels would be wrong without a word."""
    if picture.format not in ("BMP", "DIB") or samples not in ("1", "L"):
        return
    assert picture.fp is not None
    start = 14 if picture.format == "BMP" else 0
    picture.fp.seek(start)
    header = picture.fp.read(16)
    old_header = header[:4] == struct.pack("<I", 12)
    depth = struct.unpack_from("<H", header, 10 if old_header else 14)[0]
    if depth != {"1": 1, "L": 8}[samples]:
        raise ValueError(
            f"a BMP with a grey palette and {depth} bits per pixel is not read; save it as PNG"
        )


def _is_lossy(picture: ImageFile.ImageFile, kind: str) -> bool:
    if kind == "TIFF":
        return picture.info.get("compression") in ("jpeg", "tiff_jpeg", "webp")
    if kind == "WEBP":
        return _is_lossy_webp(picture)
    return kind in ("JPEG", "AVIF", "JPEG2000")


def _is_lossy_webp(picture: ImageFile.ImageFile) -> bool:
    """Whether a WebP file has a `VP8 ` chunk (lossy) anywhere; lossless ones have `VP8L` only."""
    file = picture.fp
    if file is None:
        return True
    file.seek(12)
    while len(head := file.read(8)) == 8:
        if head[:4] == b"VP8 ":
            return True
        size = struct.unpack("<I", head[4:])[0]
        if head[:4] == b"ANMF":
            file.seek(16, os.SEEK_CUR)  # of a frame's own header; its chunks follow
            continue
        file.seek(size + size % 2, os.SEEK_CUR)
    return False


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
