"""Store of the soft pseudo labels p⁰: one memory-mapped Arrow file per network and stage.

Probabilities lie at feature resolution of the uncropped image, in half precision or 8 bits; a
training crop reads and bilinearly resizes its own window, with the flip and scale of the image.
Cityscapes at 1024×512 takes 2875 × 19 × 128 × 64 × 2 bytes ≈ 0.9 GB per network in half precision.
"""

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor
from torch.nn import functional

from rml_trainers.errors import DataError
from rml_trainers.noise.geometry import CropWindow

_FIELDS: "list[pa.Field[Any]]" = [
    pa.field("name", pa.string()),
    pa.field("size_px", pa.list_(pa.int32(), 2)),
    pa.field("cells", pa.list_(pa.int32(), 3)),
    pa.field("prob", pa.large_binary()),
]
_SCHEMA = pa.schema(_FIELDS)


class InitialLabelWriter:
    """Streams p⁰ batch by batch into a temporary file that gets its name only when complete."""

    def __init__(self, path: Path, *, bits: int, made_by: str) -> None:
        self._path = path
        self._temporary = path.with_suffix(".writing")
        self._dtype = np.float16 if bits == 16 else np.uint8
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = pa.OSFile(str(self._temporary), "wb")
        self._writer = pa.ipc.new_file(
            self._file, _SCHEMA.with_metadata({"bits": str(bits), "made_by": made_by})
        )

    def add(
        self, names: Sequence[str], prob: npt.NDArray[np.float32], size_px: tuple[int, int]
    ) -> None:
        """Append [B, K, h, w] probabilities of images of one size."""
        if self._dtype == np.uint8:
            prob = np.rint(prob * 255)
        stored = [row.astype(self._dtype).tobytes() for row in prob]
        columns: dict[str, list[Any]] = {
            "name": list(names),
            "size_px": [list(size_px)] * len(names),
            "cells": [list(prob.shape[1:])] * len(names),
            "prob": stored,
        }
        try:
            self._writer.write_batch(pa.RecordBatch.from_pydict(columns, schema=_SCHEMA))
        except OSError as error:
            raise _disk_error(self._path, error) from error

    def close(self) -> None:
        """Finish the file and give it its name."""
        try:
            self._writer.close()
            self._file.close()
            self._temporary.replace(self._path)
        except OSError as error:
            raise _disk_error(self._path, error) from error

    def discard(self) -> None:
        """Remove what was written so far."""
        self._file.close()
        self._temporary.unlink(missing_ok=True)


def _disk_error(path: Path, error: OSError) -> DataError:
    reason = "the disk is full" if error.errno == errno.ENOSPC else str(error)
    return DataError(
        f"cannot write the initial pseudo labels {path.name} in {path.parent}: {reason}"
    )


class InitialLabelStore:
    """Reads windows of p⁰.

    Args:
        cells: feature map size (h, w) of a training crop.
        align_corners: where the network's upsampling puts the cells, in the crop as in the whole
            image. True: first and last cell on the centres of the first and last pixel. False: each
            cell in the middle of an equal piece.
    """

    def __init__(self, path: Path, cells: tuple[int, int], *, align_corners: bool) -> None:
        self._table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        metadata = {
            key.decode(): value.decode() for key, value in self._table.schema.metadata.items()
        }
        self._dtype = np.float16 if metadata["bits"] == "16" else np.uint8
        self._rows = {name: i for i, name in enumerate(self._table.column("name").to_pylist())}
        self._sizes_px: list[Any] = self._table.column("size_px").to_pylist()
        self._cells = cells
        self._align_corners = align_corners

    @staticmethod
    def matches(path: Path, made_by: str) -> bool:
        """Whether a complete file of these weights is there (a truncated one counts as absent: it
        is made again)."""
        if not path.is_file():
            return False
        try:
            schema = pa.ipc.open_file(pa.memory_map(str(path))).schema
        except pa.ArrowInvalid:
            return False
        return schema.equals(_SCHEMA) and bool(schema.metadata.get(b"made_by") == made_by.encode())

    def whole(self, name: str) -> Tensor:
        """p⁰ of a whole image: float32 [K, h, w] in [0, 1]."""
        row = self._rows[name]
        shape = self._table.column("cells")[row].as_py()
        buffer = self._table.column("prob")[row].as_buffer()
        stored = np.frombuffer(buffer, dtype=self._dtype).reshape(shape)
        return torch.from_numpy(stored.astype(np.float32) / (255 if self._dtype == np.uint8 else 1))

    def crop(self, name: str, window: CropWindow, crop_px: tuple[int, int]) -> Tensor:
        """p⁰ at the cells of a training crop: float32 [K, h, w].

        Cells in the padding repeat the nearest image cell; the pixels there are ignored anyway.
        """
        height, width = self._sizes_px[self._rows[name]]
        rows = self._positions(
            self._cells[0], crop_px[0], window.top, window.height, height, flip=False
        )
        columns = self._positions(
            self._cells[1], crop_px[1], window.left, window.width, width, flip=window.flip
        )
        grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)
        sampled = functional.grid_sample(
            self.whole(name)[None],
            grid[None],
            "bilinear",
            "border",
            align_corners=self._align_corners,
        )
        return sampled[0]

    def _positions(
        self, cells: int, crop_px: int, start: int, length: int, size_px: int, *, flip: bool
    ) -> Tensor:
        """Centre of each crop cell along one axis, as `grid_sample` counts positions in the whole
        image."""
        if self._align_corners:
            pixel = torch.linspace(0, crop_px - 1, cells)
        else:
            pixel = (torch.arange(cells) + 0.5) * (crop_px / cells) - 0.5
        if flip:
            pixel = (crop_px - 1) - pixel
        source = (pixel + 0.5) * (length / crop_px) - 0.5 + start
        if self._align_corners:
            return 2 * source / max(1, size_px - 1) - 1
        return (2 * source + 1) / size_px - 1
