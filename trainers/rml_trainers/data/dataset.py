"""What a data set is to the rest of the package: names, and one decoded image with its label at a
time.

An adapter knows a layout on disk and nothing else; decoding happens once, in `prepare`. The reading
of image and mask files that the adapters share stands here too, so that a damaged file is reported
the same way everywhere.
"""

import hashlib
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from rml_trainers.configuration import require
from rml_trainers.errors import DataError, DataMissingError
from rml_trainers.settings.contract import DataConfig

Subset = Literal["train", "val"]
SUBSETS: tuple[Subset, ...] = ("train", "val")
UInt8Array = npt.NDArray[np.uint8]
SizePx = tuple[int, int]
"""Height and width."""

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
# Everything Pillow raises on bytes that are not the image they claim to be (it has no common base
# class for them).
_BROKEN_IMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


def require_size(size_px: SizePx | None) -> None:
    """The check that the configurations of image files share: large enough, or None for every
    image's own size."""
    expected = "at least 32 pixels each way, or null to keep every image's own size"
    require(size_px is None or min(size_px) >= 32, "size_px", size_px, expected)


@dataclass(frozen=True)
class RawImage:
    """One decoded image and, where there is one, its label in class numbers 0..K-1 and 255."""

    image: UInt8Array
    """[H, W, 3] RGB."""
    label: UInt8Array | None
    """[H, W], or None for an image without a mask."""


class Dataset(Protocol):
    """Adapter from a layout on disk to names and raw images."""

    @property
    def config(self) -> DataConfig: ...

    @property
    def name(self) -> str: ...

    @property
    def class_names(self) -> tuple[str, ...]: ...

    def names(self, subset: Subset) -> tuple[str, ...]:
        """Sorted names without suffix; reads folders, decodes nothing. Raises DataError."""
        ...

    def names_without_label(self) -> tuple[str, ...]:
        """Training images that have no mask and can therefore only be unlabelled."""
        ...

    def read(self, subset: Subset, name: str) -> RawImage:
        """Decode one image and its label, at their own size unless the configuration wants a label
        reduced by vote.

        Raises DataError naming the file.
        """
        ...

    def fingerprint(self) -> str:
        """Hash of what the source is made of (file names and sizes); changes when the prepared set
        is out of date."""
        ...


def read_image(path: Path) -> UInt8Array:
    """Decode an 8-bit image file as RGB [H, W, 3]. Raises DataError for a missing, damaged or
    16-bit file."""
    try:
        with Image.open(path) as picture:
            if picture.mode.startswith(("I", "F")):
                raise DataError(
                    f"{path}: image of mode {picture.mode}; expected 8 bits per channel"
                )
            return np.asarray(picture.convert("RGB"))
    except _BROKEN_IMAGE as error:
        raise DataError(_broken(path, "image", error)) from error


def read_mask(path: Path) -> UInt8Array:
    """Decode a mask file [H, W]; each grey or palette number is a class. Raises DataError as
    `read_image` does."""
    try:
        with Image.open(path) as picture:
            if picture.mode not in ("L", "P", "1"):
                wanted = "expected class numbers in 8-bit grey (L) or palette (P)"
                raise DataError(f"{path}: mask of mode {picture.mode}; {wanted}")
            return np.asarray(picture).astype(np.uint8, copy=False)
    except _BROKEN_IMAGE as error:
        raise DataError(_broken(path, "mask", error)) from error


def _broken(path: Path, what: str, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{path}: {what} missing"
    return f"{path}: corrupt or truncated {what} ({error})"


def check_pair(
    image: UInt8Array, label: UInt8Array, num_classes: int, ignore: int, path: Path
) -> UInt8Array:
    """Label with `ignore` mapped to 255, once its size and class numbers are found right. Raises
    DataError."""
    check_size(image, label, path)
    wrong = [value for value in values_of(label) if value >= num_classes and value != ignore]
    if wrong:
        raise DataError(
            f"{path}: class id {', '.join(map(str, wrong))} out of range; expected "
            f"0..{num_classes - 1} or {ignore}"
        )
    if ignore == 255:
        return label
    return np.where(label == ignore, np.uint8(255), label)


def check_size(image: UInt8Array, label: UInt8Array, path: Path) -> None:
    """Raise a DataError naming the mask unless it has the size of its image."""
    if label.shape != image.shape[:2]:
        sizes = (
            f"mask is {label.shape[0]}×{label.shape[1]}, image is {image.shape[0]}×{image.shape[1]}"
        )
        raise DataError(f"{path}: {sizes} (height×width)")


def values_of(label: UInt8Array) -> list[int]:
    """Numbers that occur in a label, ascending."""
    values: list[int] = np.flatnonzero(np.bincount(label.ravel(), minlength=256)).tolist()
    return values


def image_files(folder: Path) -> dict[str, Path]:
    """Image files under a folder by name: relative path without suffix. Raises DataError if two
    share a name."""
    files: dict[str, Path] = {}
    twice: list[str] = []
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith("."):
            continue
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in files:
            twice.append(f"{files[name].name} and {path.name}")
        files[name] = path
    if twice:
        raise DataError(
            f"{folder}: images with the same name: {'; '.join(twice)}. Keep one of each pair"
        )
    return files


def files_fingerprint(files: Iterable[tuple[str, Path]]) -> str:
    """16 hex digits over names and file sizes; the same wherever the folder lies."""
    digest = hashlib.sha256()
    for name, path in files:
        digest.update(f"{name}\t{path.stat().st_size}\n".encode())
    return digest.hexdigest()[:16]


def require_folder(folder: Path, root: Path, layout: str) -> None:
    """Raise a DataMissingError that shows the expected layout unless `folder` is a folder."""
    if not folder.is_dir():
        raise DataMissingError(
            f"{folder}: no such folder. The data root is {root} (--data-root or RML_DATA); it must "
            f"hold\n{layout}"
        )


def require_root(data_root: Path | None, name: str, layout: str) -> Path:
    """The data root, or a DataMissingError that says how to give one."""
    if data_root is None:
        raise DataMissingError(
            f"data set {name!r} needs images on disk: give --data-root DIR or set RML_DATA to a "
            f"folder with\n{layout}"
        )
    return data_root
