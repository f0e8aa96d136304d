"""Store of the soft pseudo labels p⁰: one memory-mapped Arrow file per network and stage.

Probabilities lie at feature resolution of the uncropped image, in half precision or 8 bits; a training crop reads and
bilinearly resizes its own window, with the flip and scale of the image. Cityscapes at 1024×512 takes
2875 × 19 × 128 × 64 × 2 bytes ≈ 0.9 GB per network in half precision.
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

_SCHEMA = pa.schema([("name", pa.string()), ("cells", pa.list_(pa.int32(), 3)), ("prob", pa.large_binary())])


class InitialLabelWriter:
    """Streams p⁰ batch by batch into a temporary file that gets its name only when complete."""

    def __init__(self, path: Path, *, bits: int, size_px: tuple[int, int], made_by: str) -> None:
        self._path = path
        self._temporary = path.with_suffix(".writing")
        self._dtype = np.float16 if bits == 16 else np.uint8
        path.parent.mkdir(parents=True, exist_ok=True)
        metadata = {"bits": str(bits), "made_by": made_by, "height": str(size_px[0]), "width": str(size_px[1])}
        self._file = pa.OSFile(str(self._temporary), "wb")
        self._writer = pa.ipc.new_file(self._file, _SCHEMA.with_metadata(metadata))

    def add(self, names: Sequence[str], prob: npt.NDArray[np.float32]) -> None:
        """Append [B, K, h, w] probabilities."""
        if self._dtype == np.uint8:
            prob = np.rint(prob * 255)
        stored = [row.astype(self._dtype).tobytes() for row in prob]
        columns: dict[str, list[Any]] = {
            "name": list(names),
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
    return DataError(f"cannot write the initial pseudo labels {path.name} in {path.parent}: {reason}")


class InitialLabelStore:
    """Reads windows of p⁰; `cells` is the feature map size (h, w) of a training crop."""

    def __init__(self, path: Path, cells: tuple[int, int]) -> None:
        self._table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        metadata = {key.decode(): value.decode() for key, value in self._table.schema.metadata.items()}
        self._dtype = np.float16 if metadata["bits"] == "16" else np.uint8
        self._size_px = (int(metadata["height"]), int(metadata["width"]))
        self._rows = {name: i for i, name in enumerate(self._table.column("name").to_pylist())}
        self._cells = cells

    @staticmethod
    def matches(path: Path, made_by: str) -> bool:
        """Whether a complete file of these weights is there (a truncated one counts as absent: it is made again)."""
        if not path.is_file():
            return False
        try:
            metadata = pa.ipc.open_file(pa.memory_map(str(path))).schema.metadata
        except pa.ArrowInvalid:
            return False
        return bool(metadata.get(b"made_by") == made_by.encode())

    def whole(self, name: str) -> Tensor:
        """p⁰ of a whole image: float32 [K, h, w] in [0, 1]."""
        row = self._rows[name]
        shape = self._table.column("cells")[row].as_py()
        buffer = self._table.column("prob")[row].as_buffer()
        stored = np.frombuffer(buffer, dtype=self._dtype).reshape(shape)
        return torch.from_numpy(stored.astype(np.float32) / (255 if self._dtype == np.uint8 else 1))

    def crop(self, name: str, window: CropWindow, crop_px: tuple[int, int]) -> Tensor:
        """p⁰ at the cells of a training crop: float32 [K, h, w].

        Cells sit where upsampling with align_corners=True puts them: first and last cell on the first and last pixel,
        in the crop as in the whole image. Cells in the padding repeat the nearest image cell; the pixels there are
        ignored anyway.
        """
        rows = _positions(self._cells[0], crop_px[0], window.top, window.height, self._size_px[0], flip=False)
        columns = _positions(self._cells[1], crop_px[1], window.left, window.width, self._size_px[1], flip=window.flip)
        grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)
        sampled = functional.grid_sample(
            self.whole(name)[None], grid[None], mode="bilinear", padding_mode="border", align_corners=True
        )
        return sampled[0]


def _positions(cells: int, crop_px: int, start: int, length: int, size_px: int, *, flip: bool) -> Tensor:
    """Centre of each crop cell along one axis, as a position in [−1, 1] of the whole image."""
    pixel = torch.linspace(0, crop_px - 1, cells)
    if flip:
        pixel = (crop_px - 1) - pixel
    source = (pixel + 0.5) * (length / crop_px) - 0.5 + start
    return 2 * source / (size_px - 1) - 1
