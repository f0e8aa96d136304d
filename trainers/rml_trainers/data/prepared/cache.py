"""Prepared images: decoded and resized once, read from a memory-mapped Arrow file ever after.

train.arrow, val.arrow   one row per image: name, size, pixels [H, W, 3], label [H, W], pixels per
class, hash manifest.json            written last: what the files hold, their sizes and hashes
"""

import copy
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rml_trainers.data.account import Account
from rml_trainers.data.dataset import SUBSETS, Subset, UInt8Array
from rml_trainers.data.prepared.manifest import Manifest, damaged

_FIELDS: "list[pa.Field[Any]]" = [
    pa.field("name", pa.string()),
    pa.field("height", pa.int32()),
    pa.field("width", pa.int32()),
    pa.field("image", pa.large_binary()),
    pa.field("label", pa.large_binary()),
    pa.field("class_pixels", pa.list_(pa.int64())),
    pa.field("hash", pa.binary(32)),
]
SCHEMA = pa.schema(_FIELDS)


class PreparedData:
    """Reads images and labels of a prepared folder without decoding or copying. Safe to share
    between threads."""

    def __init__(self, folder: Path, manifest: Manifest, rows: "dict[Subset, _Rows]") -> None:
        self.folder = folder
        self.manifest = manifest
        self._rows = rows
        self._truth = rows.get("train")
        """The training images with their labels as they were prepared."""

    @classmethod
    def open(cls, folder: Path) -> "PreparedData":
        """Open after a cheap check (sizes, footers, offsets); `check_prepared` verifies every byte.

        Raises:
            DataError: not a prepared folder, half-written, truncated, or of another version of the
                program.
        """
        manifest = Manifest.read(folder)
        rows: dict[Subset, _Rows] = {}
        for subset in SUBSETS:
            path = folder / f"{subset}.arrow"
            expected = manifest.file_bytes[subset]
            if not path.is_file():
                raise damaged(folder, f"{path.name} is missing")
            if path.stat().st_size != expected:
                raise damaged(
                    folder, f"{path.name} has {path.stat().st_size} bytes instead of {expected}"
                )
            try:
                rows[subset] = _Rows(path)
            except (pa.ArrowException, OSError, ValueError) as error:
                raise damaged(folder, f"{path.name}: {error}") from error
        return cls(folder, manifest, rows)

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.manifest.class_names

    @property
    def num_classes(self) -> int:
        return len(self.manifest.class_names)

    @property
    def size_px(self) -> tuple[int, int] | None:
        """Height and width of every image; None where each keeps its own (see `image_size`)."""
        return self.manifest.size_px

    @property
    def content_hash(self) -> str:
        """12 hex digits; part of every run id."""
        return self.manifest.content_hash

    @property
    def mean_colour(self) -> tuple[int, int, int]:
        """Mean training colour, which fills padding."""
        return self.manifest.mean_colour

    def names(self, subset: Subset) -> tuple[str, ...]:
        return self._rows[subset].names

    def names_without_label(self) -> tuple[str, ...]:
        """Training images without a mask."""
        rows = self._rows["train"]
        return tuple(name for i, name in enumerate(rows.names) if rows.label(i) is None)

    def index(self, subset: Subset, name: str) -> int:
        return self._rows[subset].index[name]

    def image_size(self, subset: Subset, i: int) -> tuple[int, int]:
        """Height and width of one image."""
        return self._rows[subset].sizes[i]

    def image(self, subset: Subset, i: int) -> UInt8Array:
        """[H, W, 3], a read-only view of the memory map."""
        return self._rows[subset].image(i)

    def label(self, subset: Subset, i: int) -> UInt8Array | None:
        """[H, W], a read-only view of the memory map, or None for an image without a mask."""
        return self._rows[subset].label(i)

    def with_train_labels(self, labels: Mapping[int, UInt8Array]) -> "PreparedData":
        """The same images with other labels [H, W] of some training images, by their number.
        Nothing is written: the folder and its hashes stay those of the images as they are."""
        rows = self._rows["train"].with_labels(labels, self.num_classes)
        other = PreparedData(self.folder, self.manifest, {**self._rows, "train": rows})
        other._truth = self._truth
        return other

    def true_label(self, i: int) -> UInt8Array | None:
        """`label` of a training image as it was prepared, whatever `with_train_labels` says."""
        assert self._truth is not None
        return self._truth.label(i)

    def account(self) -> Account | None:
        """What the set holds; None for one that was prepared before accounts were kept."""
        return Account.read(self.folder)

    def class_pixel_counts(self, names: Iterable[str]) -> npt.NDArray[np.int64]:
        """Labelled pixels of every class over some training images: [K]."""
        rows = self._rows["train"]
        counts = np.zeros(self.num_classes, np.int64)
        for name in names:
            counts += np.asarray(rows.class_pixels(rows.index[name]), dtype=np.int64)
        return counts

    def subset_class_pixels(self, subset: Subset) -> npt.NDArray[np.int64]:
        """Labelled pixels of every class over all images of a subset: [K]."""
        rows = self._rows[subset]
        counts = [rows.class_pixels(i) for i in range(len(rows.names))]
        return np.asarray(np.asarray(counts, np.int64).sum(axis=0))

    def class_pixels(self, name: str) -> list[int]:
        """Labelled pixels of every class in one training image."""
        rows = self._rows["train"]
        return rows.class_pixels(rows.index[name])

    def damaged_rows(self, subset: Subset) -> list[str]:
        """Names whose bytes, labels or pixel counts are not what was written; reads everything."""
        rows = self._rows[subset]
        wrong = []
        for i, name in enumerate(rows.names):
            image = rows.image(i)
            label = rows.label(i)
            changed = rows.hashes[i] != row_hash(name, image, label)
            if changed or class_pixels(label, self.num_classes) != rows.class_pixels(i):
                wrong.append(name)
        return wrong

    def subset_content(self, subset: Subset) -> str:
        """sha256 over the stored hashes of all rows, to compare with the manifest."""
        return hashlib.sha256(b"".join(self._rows[subset].hashes)).hexdigest()


class _Rows:
    """One Arrow file: small columns as Python values, pixels as buffers of the memory map, looked
    up once."""

    def __init__(self, path: Path) -> None:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        if not table.schema.equals(SCHEMA):
            raise ValueError("columns are not those of prepared images")
        table.validate(
            full=True
        )  # offsets inside their buffers: without it a flipped bit could end the process
        small: dict[str, list[Any]] = table.drop_columns(["image", "label"]).to_pydict()
        self.names: tuple[str, ...] = tuple(small["name"])
        self.index = {name: i for i, name in enumerate(self.names)}
        self.sizes: list[tuple[int, int]] = list(zip(small["height"], small["width"], strict=True))
        self.hashes: list[bytes] = small["hash"]
        self._counts: list[list[int]] = small["class_pixels"]
        self._images = [value.as_buffer() for value in table.column("image")]
        self._labels = [
            value.as_buffer() if value.is_valid else None for value in table.column("label")
        ]
        for i, (height, width) in enumerate(self.sizes):
            label = self._labels[i]
            sound = self._images[i].size == height * width * 3 and (
                label is None or label.size == height * width
            )
            if not sound:
                raise ValueError(f"{self.names[i]} does not have its {height}×{width} pixels")

    def image(self, i: int) -> UInt8Array:
        return np.frombuffer(self._images[i], dtype=np.uint8).reshape(*self.sizes[i], 3)

    def label(self, i: int) -> UInt8Array | None:
        buffer = self._labels[i]
        return (
            None if buffer is None else np.frombuffer(buffer, dtype=np.uint8).reshape(self.sizes[i])
        )

    def class_pixels(self, i: int) -> list[int]:
        return self._counts[i]

    def with_labels(self, labels: Mapping[int, UInt8Array], num_classes: int) -> "_Rows":
        """A copy that shares the pixels."""
        other = copy.copy(self)
        other._labels = list(self._labels)
        other._counts = list(self._counts)
        for i, label in labels.items():
            other._labels[i] = pa.py_buffer(label.tobytes())
            other._counts[i] = class_pixels(label, num_classes)
        return other


def row_hash(name: str, image: UInt8Array, label: UInt8Array | None) -> bytes:
    """sha256 over name, size, pixels and label of one image."""
    digest = hashlib.sha256(
        f"{name}\n{image.shape[0]}x{image.shape[1]}\n{label is not None}\n".encode()
    )
    digest.update(np.ascontiguousarray(image).data)
    if label is not None:
        digest.update(np.ascontiguousarray(label).data)
    return digest.digest()


def class_pixels(label: UInt8Array | None, num_classes: int) -> list[int]:
    """Pixels of each class 0..K-1 in a label (all zero without one)."""
    if label is None:
        return [0] * num_classes
    counts: list[int] = np.bincount(label.ravel(), minlength=256)[:num_classes].tolist()
    return counts


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """What a full verification found."""

    num_images: dict[str, int]
    num_unlabelled: int
    """Training images without a mask."""
    class_pixels: dict[str, int]
    """Training pixels by class name."""


def check_prepared(folder: Path) -> CheckReport:
    """Verify every byte and every label value of a prepared folder.

    Raises:
        DataError: names every image that is not what was written, or whose label has a class id out
            of range.
    """
    data = PreparedData.open(folder)
    for subset in SUBSETS:
        if wrong := data.damaged_rows(subset):
            raise damaged(
                folder, f"{subset}.arrow has changed since it was written, in {', '.join(wrong)}"
            )
        if data.subset_content(subset) != data.manifest.content[subset]:
            raise damaged(folder, f"{subset}.arrow is not the one that manifest.json describes")
        out_of_range = [
            name
            for i, name in enumerate(data.names(subset))
            if _out_of_range(data.label(subset, i), data.num_classes)
        ]
        if out_of_range:
            raise damaged(folder, f"{subset}: class ids out of range in {', '.join(out_of_range)}")
    pixels = data.class_pixel_counts(data.names("train")).tolist()
    return CheckReport(
        num_images=dict(data.manifest.num_images),
        num_unlabelled=len(data.names_without_label()),
        class_pixels=dict(zip(data.class_names, pixels, strict=True)),
    )


def _out_of_range(label: UInt8Array | None, num_classes: int) -> bool:
    return label is not None and bool(((label >= num_classes) & (label != 255)).any())
