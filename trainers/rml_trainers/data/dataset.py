"""What a data set is to the rest of the package: names, and one decoded image with its label at a
time.

An adapter knows a layout on disk and nothing else; decoding happens once, in `prepare`, and files
are opened in `pictures/`, so that a damaged one is reported the same way everywhere.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from rml_trainers.configuration import require
from rml_trainers.data.files import Sources
from rml_trainers.data.pictures.images import ImageFile
from rml_trainers.data.pictures.masks import MaskFile, read_mask
from rml_trainers.errors import DataError, DataMissingError
from rml_trainers.settings.contract import DataConfig

Subset = Literal["train", "val"]
SUBSETS: tuple[Subset, ...] = ("train", "val")
UInt8Array = npt.NDArray[np.uint8]
SizePx = tuple[int, int]
"""Height and width."""


LabelReader = Callable[[Path, ImageFile], tuple[UInt8Array, MaskFile]]
"""(mask file, its image) → class numbers 0..K-1 and 255 [H, W], and the file as decoded. Raises
DataError that names the file."""


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
    image_kind: str = ""
    """Format and samples of the image's file, such as "JPEG RGB"."""
    mask_kind: str = ""
    notes: tuple[str, ...] = ()
    """What was done to the files' pixels on the way, in words that the account counts."""


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

    def sources(self) -> Sources:
        """Every file that the set is made of, and which files of its folders it leaves out."""
        ...


def raw_image(image: ImageFile, label: UInt8Array | None, mask: MaskFile | None) -> RawImage:
    """An image and its label together with what was found in their files."""
    notes = image.notes if mask is None else (*image.notes, *mask.notes)
    return RawImage(
        image.pixels, label, image.kind, "" if mask is None else mask.kind, tuple(set(notes))
    )


def read_class_numbers(path: Path) -> tuple[UInt8Array, MaskFile]:
    """Decode a mask of a public data set [H, W]; each grey or palette number is a class. Raises
    DataError as `read_mask` does, and for colours or numbers above 255."""
    mask = read_mask(path)
    if mask.numbers is None or mask.numbers.dtype != np.uint8:
        wanted = "expected class numbers in 8-bit grey (L) or palette (P)"
        raise DataError(f"{path}: mask of mode {mask.mode}; {wanted}")
    return mask.numbers, mask


def plain_labels(
    config: DataConfig, class_names: Sequence[str], data_root: Path | None
) -> LabelReader:
    """Reader of masks in which every number is its class and 255 is ignored."""

    def read(path: Path, image: ImageFile) -> tuple[UInt8Array, MaskFile]:
        numbers, mask = read_class_numbers(path)
        return check_pair(image, numbers, len(class_names), 255, path), mask

    return read


def check_pair(
    image: ImageFile, label: UInt8Array, num_classes: int, ignore: int, path: Path
) -> UInt8Array:
    """Label with `ignore` mapped to 255, once its size and class numbers are found right. Raises
    DataError."""
    check_size(image, (label.shape[0], label.shape[1]), path)
    wrong = [value for value in values_of(label) if value >= num_classes and value != ignore]
    if wrong:
        raise DataError(
            f"{path}: class id {', '.join(map(str, wrong))} out of range; expected "
            f"0..{num_classes - 1} or {ignore}"
        )
    if ignore == 255:
        return label
    return np.where(label == ignore, np.uint8(255), label)


def check_size(image: ImageFile, size_px: SizePx, path: Path) -> None:
    """Raise a DataError naming the mask unless it has the size of its image."""
    height, width = image.pixels.shape[:2]
    if size_px == (height, width):
        return
    sizes = f"mask is {size_px[0]}×{size_px[1]}, image is {height}×{width} (height×width)"
    turned = next((note for note in image.notes if note.startswith("turned by EXIF")), None)
    if turned is not None and size_px == (width, height):
        sizes += (
            f"; the image was {turned} and the mask was drawn before that: turn the masks, or take "
            "the orientation out of the images' EXIF data"
        )
    raise DataError(f"{path}: {sizes}")


def values_of(label: UInt8Array) -> list[int]:
    """Numbers that occur in a label, ascending."""
    values: list[int] = np.flatnonzero(np.bincount(label.ravel(), minlength=256)).tolist()
    return values


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
