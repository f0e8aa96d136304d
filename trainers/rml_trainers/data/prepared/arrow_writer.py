"""Writes prepared rows into an Arrow file as they come, so that a set of any size needs little
memory."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rml_trainers.data.dataset import RawImage, UInt8Array
from rml_trainers.data.prepared.cache import SCHEMA, class_pixels, row_hash

ROWS_PER_BATCH = 16


@dataclass(frozen=True)
class Row:
    """One prepared image with all that is derived from it; made by the decoding threads."""

    name: str
    image: UInt8Array
    label: UInt8Array | None
    class_pixels: list[int]
    colour_sum: npt.NDArray[np.int64]
    """[3] sums of red, green and blue over the pixels."""
    hash: bytes

    @classmethod
    def of(cls, name: str, raw: RawImage, num_classes: int) -> "Row":
        counts = class_pixels(raw.label, num_classes)
        colour_sum = raw.image.sum(axis=(0, 1), dtype=np.int64)
        return cls(
            name, raw.image, raw.label, counts, colour_sum, row_hash(name, raw.image, raw.label)
        )


class ArrowWriter:
    """Context manager; `content` is the hash over all rows once it is left without an error."""

    def __init__(self, path: Path) -> None:
        self._file = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_file(self._file, SCHEMA)
        self._rows: list[Row] = []
        self._digest = hashlib.sha256()
        self.content = ""

    def __enter__(self) -> "ArrowWriter":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                self._flush()
                self._writer.close()
        finally:
            self._file.close()
        self.content = self._digest.hexdigest()

    def add(self, row: Row) -> None:
        self._digest.update(row.hash)
        self._rows.append(row)
        if len(self._rows) == ROWS_PER_BATCH:
            self._flush()

    def _flush(self) -> None:
        if not self._rows:
            return
        rows = self._rows
        self._rows = []
        columns: list[list[object]] = [
            [row.name for row in rows],
            [row.image.shape[0] for row in rows],
            [row.image.shape[1] for row in rows],
            [row.image.tobytes() for row in rows],
            [None if row.label is None else row.label.tobytes() for row in rows],
            [row.class_pixels for row in rows],
            [row.hash for row in rows],
        ]
        arrays = [
            pa.array(values, type=field.type) for values, field in zip(columns, SCHEMA, strict=True)
        ]
        self._writer.write_batch(pa.record_batch(arrays, schema=SCHEMA))
