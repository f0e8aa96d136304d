"""Prepared images: decoded and resized once, read from a memory-mapped Arrow file ever after.

train.arrow, val.arrow   one row per image: name, size, pixels [H, W, 3], label [H, W], pixels per class
manifest.json            written last: what the files hold, their sizes and hashes
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rml_trainers.data.dataset import SUBSETS, Subset, UInt8Array
from rml_trainers.errors import DataError

FORMAT = 1
SCHEMA = pa.schema(
    [
        ("name", pa.string()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("image", pa.large_binary()),
        ("label", pa.large_binary()),
        ("class_pixels", pa.list_(pa.int64())),
    ]
)


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a prepared folder holds."""

    format: int
    name: str
    class_names: tuple[str, ...]
    size_px: tuple[int, int]
    mean_colour: tuple[int, int, int]
    fingerprint: str
    """Of the source files, to notice when the prepared set is out of date."""
    num_images: dict[str, int]
    file_bytes: dict[str, int]
    row_hashes: dict[str, str]
    """sha256 per subset over all names, pixels and labels."""

    def write(self, folder: Path) -> None:
        """Write atomically."""
        temporary = folder / "manifest.json.writing"
        temporary.write_text(json.dumps(asdict(self), indent=1))
        temporary.replace(folder / "manifest.json")

    @property
    def content_hash(self) -> str:
        """12 hex digits over images, labels, their order and their classes."""
        parts = [self.row_hashes[subset] for subset in SUBSETS] + list(self.class_names)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


class PreparedData:
    """Reads images and labels of a prepared folder without decoding or copying."""

    def __init__(self, folder: Path, manifest: Manifest, tables: dict[Subset, pa.Table]) -> None:
        self.folder, self.manifest, self._tables = folder, manifest, tables
        self._names = {subset: tuple(table.column("name").to_pylist()) for subset, table in tables.items()}
        self._index = {subset: {name: i for i, name in enumerate(names)} for subset, names in self._names.items()}
        self._rows = {subset: _Rows(table) for subset, table in tables.items()}

    @classmethod
    def open(cls, folder: Path) -> "PreparedData":
        """Open after a cheap check (sizes and footers); `check_prepared` verifies every byte.

        Raises:
            DataError: not a prepared folder, half-written, truncated, or of another version of the program.
        """
        manifest = _read_manifest(folder)
        tables: dict[Subset, pa.Table] = {}
        for subset in SUBSETS:
            path = folder / f"{subset}.arrow"
            if not path.is_file() or path.stat().st_size != manifest.file_bytes[subset]:
                found = f"{path.stat().st_size} bytes" if path.is_file() else "nothing"
                raise _damaged(folder, f"{path.name} should have {manifest.file_bytes[subset]} bytes, found {found}")
            try:
                tables[subset] = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
            except (pa.ArrowInvalid, OSError) as error:
                raise _damaged(folder, f"{path.name}: {error}") from error
        return cls(folder, manifest, tables)

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
    def size_px(self) -> tuple[int, int]:
        """Height and width."""
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
        return self._names[subset]

    def names_without_label(self) -> tuple[str, ...]:
        """Training images without a mask."""
        labels = self._tables["train"].column("label")
        return tuple(
            name for name, null in zip(self._names["train"], labels.is_null().to_pylist(), strict=True) if null
        )

    def index(self, subset: Subset, name: str) -> int:
        return self._index[subset][name]

    def image(self, subset: Subset, i: int) -> UInt8Array:
        """[H, W, 3], a read-only view of the memory map."""
        return self._rows[subset].image(i)

    def label(self, subset: Subset, i: int) -> UInt8Array | None:
        """[H, W], a read-only view of the memory map, or None for an image without a mask."""
        return self._rows[subset].label(i)

    def class_pixel_counts(self, names: Iterable[str]) -> npt.NDArray[np.int64]:
        """Labelled pixels of every class over some training images: [K]."""
        counts = self._tables["train"].column("class_pixels")
        rows = [counts[self.index("train", name)].as_py() for name in names]
        return np.sum([row for row in rows if row is not None] or [[0] * self.num_classes], axis=0, dtype=np.int64)


class _Rows:
    """Buffers of one subset, looked up once."""

    def __init__(self, table: pa.Table) -> None:
        self._sizes = list(zip(table.column("height").to_pylist(), table.column("width").to_pylist(), strict=True))
        self._images = [value.as_buffer() for value in table.column("image")]
        self._labels = [value.as_buffer() if value.is_valid else None for value in table.column("label")]

    def image(self, i: int) -> UInt8Array:
        return np.frombuffer(self._images[i], dtype=np.uint8).reshape(*self._sizes[i], 3)

    def label(self, i: int) -> UInt8Array | None:
        buffer = self._labels[i]
        return None if buffer is None else np.frombuffer(buffer, dtype=np.uint8).reshape(self._sizes[i])


def hash_row(digest: "hashlib._Hash", name: str, image: bytes, label: bytes | None) -> None:
    """Add name, pixels and label of one image to the content hash."""
    digest.update(f"{name}\n{len(image)}\n{-1 if label is None else len(label)}\n".encode())
    digest.update(image)
    if label is not None:
        digest.update(label)


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """What a full verification found."""

    num_images: dict[str, int]
    num_unlabelled: int
    class_pixels: dict[str, int]


def check_prepared(folder: Path) -> CheckReport:
    """Verify every byte and every label value of a prepared folder.

    Raises:
        DataError: names the images whose labels are out of range, or the file whose content has changed.
    """
    data = PreparedData.open(folder)
    for subset in SUBSETS:
        names = data.names(subset)
        wrong = []
        for i, name in enumerate(names):
            label = data.label(subset, i)
            if label is not None and bool(((label >= data.num_classes) & (label != 255)).any()):
                wrong.append(name)
        if wrong:
            raise _damaged(folder, f"{subset}: class ids out of range in {', '.join(wrong)}")
        digest = hashlib.sha256()
        for i, name in enumerate(names):
            label = data.label(subset, i)
            image_bytes, label_bytes = data.image(subset, i).tobytes(), None if label is None else label.tobytes()
            hash_row(digest, name, image_bytes, label_bytes)
        if digest.hexdigest() != data.manifest.row_hashes[subset]:
            raise _damaged(folder, f"the content of {subset}.arrow has changed since it was written")
    pixels = data.class_pixel_counts(data.names("train")).tolist()
    return CheckReport(
        num_images=dict(data.manifest.num_images),
        num_unlabelled=len(data.names_without_label()),
        class_pixels=dict(zip(data.class_names, pixels, strict=True)),
    )


def _read_manifest(folder: Path) -> Manifest:
    path = folder / "manifest.json"
    if not path.is_file():
        state = "was never finished" if any(folder.glob("*.arrow*")) else "holds no prepared data"
        raise DataError(f"{folder}: {state} (no manifest.json); run `rml data prepare` for it")
    try:
        fields = json.loads(path.read_text())
        for key in ("class_names", "size_px", "mean_colour"):
            fields[key] = tuple(fields[key])
        manifest = Manifest(**fields)
    except (ValueError, TypeError, KeyError) as error:
        raise _damaged(folder, f"manifest.json: {error}") from error
    if manifest.format != FORMAT:
        raise _damaged(folder, f"written in format {manifest.format}, this version reads {FORMAT}")
    return manifest


def _damaged(folder: Path, what: str) -> DataError:
    return DataError(
        f"prepared data {folder} cannot be used: {what}. Delete the folder and run `rml data prepare` again"
    )
