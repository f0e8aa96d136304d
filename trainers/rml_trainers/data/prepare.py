"""Decode and resize every image once. A set appears whole under its name, or not at all."""

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from rml_trainers.data.cache import FORMAT, SCHEMA, Manifest, PreparedData, hash_row
from rml_trainers.data.dataset import SUBSETS, Dataset, Subset, UInt8Array
from rml_trainers.errors import DataError

if TYPE_CHECKING:
    from rml_trainers.config import DataConfig

ROWS_PER_BATCH = 16
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class _Row:
    name: str
    image: UInt8Array
    label: UInt8Array | None


def cache_folder(config: "DataConfig", cache_root: Path) -> Path:
    """Folder of a prepared set: readable name and a hash of its configuration."""
    fields = json.dumps(asdict(config), sort_keys=True)
    height, width = config.size_px
    return cache_root / f"{config.name}-{height}x{width}-{hashlib.sha256(fields.encode()).hexdigest()[:8]}"


def ensure_prepared(
    config: "DataConfig", data_root: Path | None, cache_root: Path, *, on_progress: OnProgress | None = None
) -> PreparedData:
    """Open the prepared set of a configuration, making it first if it is not there or its source has changed.

    Two processes that want the same set do not both make it: the second waits. Where the source is not at hand (a
    worker without the original images), a finished set is taken as it is.
    """
    from rml_trainers.data import build_dataset

    folder = cache_folder(config, cache_root)
    with _locked(cache_root / f"{folder.name}.lock"):
        if (folder / "manifest.json").is_file() and data_root is None:
            return PreparedData.open(folder)
        dataset = build_dataset(config, data_root)
        if (folder / "manifest.json").is_file():
            data = PreparedData.open(folder)
            if data.manifest.fingerprint == dataset.fingerprint():
                return data
        return prepare(dataset, folder, on_progress=on_progress)


def prepare(
    dataset: Dataset, folder: Path, *, on_progress: OnProgress | None = None, num_threads: int | None = None
) -> PreparedData:
    """Decode, check and resize all images of a data set into `folder`, replacing what is there.

    Raises:
        DataError: lists every bad file at once (missing mask, other size, class id out of range, corrupt image), or
            says that the disk is full. Nothing half-written stays behind.
    """
    writing = folder.with_name(f"{folder.name}.writing")
    shutil.rmtree(writing, ignore_errors=True)
    try:
        writing.mkdir(parents=True)
        _write_all(dataset, writing, on_progress, num_threads or min(8, os.cpu_count() or 1))
        shutil.rmtree(folder, ignore_errors=True)
        writing.replace(folder)
    except OSError as error:
        reason = "the disk is full; free some space" if error.errno == errno.ENOSPC else str(error)
        raise DataError(f"cannot write prepared data {folder}: {reason}") from error
    finally:
        shutil.rmtree(writing, ignore_errors=True)
    return PreparedData.open(folder)


def _write_all(dataset: Dataset, folder: Path, on_progress: OnProgress | None, num_threads: int) -> None:
    names = {subset: dataset.names(subset) for subset in SUBSETS}
    for subset in SUBSETS:
        if not names[subset]:
            raise DataError(f"data set {dataset.name!r} has no {subset} images")
    total, done, bad = sum(map(len, names.values())), 0, list[str]()
    colour, hashes = np.zeros(4), dict[str, str]()
    for subset in SUBSETS:
        with _SubsetWriter(folder / f"{subset}.arrow", len(dataset.class_names)) as writer:
            for row in _decoded(dataset, subset, names[subset], num_threads):
                done += 1
                if on_progress is not None:
                    on_progress(done, total)
                if isinstance(row, DataError):
                    bad.append(str(row))
                elif not bad:
                    writer.add(row)
                    if subset == "train":
                        colour += (*row.image.reshape(-1, 3).sum(axis=0), row.image.shape[0] * row.image.shape[1])
        hashes[subset] = writer.hash
    if bad:
        raise DataError(
            f"data set {dataset.name!r}: {len(bad)} of {total} images cannot be used:\n  " + "\n  ".join(bad)
        )
    red, green, blue = (round(c) for c in colour[:3] / colour[3])
    Manifest(
        format=FORMAT,
        name=dataset.name,
        class_names=dataset.class_names,
        size_px=dataset.config.size_px,
        mean_colour=(red, green, blue),
        fingerprint=dataset.fingerprint(),
        num_images={subset: len(names[subset]) for subset in SUBSETS},
        file_bytes={subset: (folder / f"{subset}.arrow").stat().st_size for subset in SUBSETS},
        row_hashes=hashes,
    ).write(folder)


def _decoded(dataset: Dataset, subset: Subset, names: tuple[str, ...], num_threads: int) -> Iterator[_Row | DataError]:
    """Rows in the order of the names, decoded by threads a little ahead; an unusable image yields its error."""

    def decode(name: str) -> _Row | DataError:
        try:
            raw = dataset.read(subset, name)
        except DataError as error:
            return error
        return _Row(name, *_resized(raw.image, raw.label, dataset.config.size_px))

    with ThreadPoolExecutor(num_threads) as pool:
        waiting: list[Future[_Row | DataError]] = []
        for name in names:
            waiting.append(pool.submit(decode, name))
            if len(waiting) > 2 * num_threads:  # bounds the memory, however large the set
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()


def _resized(
    image: UInt8Array, label: UInt8Array | None, size_px: tuple[int, int]
) -> tuple[UInt8Array, UInt8Array | None]:
    """Image by antialiased bilinear, label by nearest pixel; untouched where the size is right."""
    if image.shape[:2] == size_px:
        return image, label
    width_height = (size_px[1], size_px[0])
    resized = np.asarray(Image.fromarray(image).resize(width_height, Image.Resampling.BILINEAR))
    if label is None:
        return resized, None
    return resized, np.asarray(Image.fromarray(label).resize(width_height, Image.Resampling.NEAREST))


class _SubsetWriter:
    """Streams rows into an Arrow file and hashes them on the way."""

    def __init__(self, path: Path, num_classes: int) -> None:
        self._file = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_file(self._file, SCHEMA)
        self._num_classes = num_classes
        self._rows: list[_Row] = []
        self._digest = hashlib.sha256()
        self.hash = ""

    def __enter__(self) -> "_SubsetWriter":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                self._flush()
            self._writer.close()
        finally:
            self._file.close()
        self.hash = self._digest.hexdigest()

    def add(self, row: _Row) -> None:
        self._rows.append(row)
        if len(self._rows) == ROWS_PER_BATCH:
            self._flush()

    def _flush(self) -> None:
        if not self._rows:
            return
        images = [row.image.tobytes() for row in self._rows]
        labels = [None if row.label is None else row.label.tobytes() for row in self._rows]
        for row, image, label in zip(self._rows, images, labels, strict=True):
            hash_row(self._digest, row.name, image, label)
        columns = [
            [row.name for row in self._rows],
            [row.image.shape[0] for row in self._rows],
            [row.image.shape[1] for row in self._rows],
            images,
            labels,
            [None if row.label is None else self._class_pixels(row.label) for row in self._rows],
        ]
        arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
        self._writer.write_batch(pa.record_batch(arrays, schema=SCHEMA))
        self._rows = []

    def _class_pixels(self, label: npt.NDArray[np.uint8]) -> list[int]:
        counts: list[int] = np.bincount(label.ravel(), minlength=256)[: self._num_classes].tolist()
        return counts


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
