"""Picture files that Pillow does not write: sub-byte and 16-bit PNG, EXIF orientations."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

ORIENTATION = 0x0112


def save_turned(pixels: npt.NDArray[np.uint8], path: Path, orientation: int) -> None:
    """Save pixels as they are, with an EXIF orientation."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options: dict[str, Any] = {"lossless": True} if path.suffix == ".webp" else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, exif=exif.tobytes(), **options)


def png(
    path: Path,
    values: npt.NDArray[np.integer],
    *,
    depth: int,
    colour_type: int = 0,
    palette: bytes = b"",
) -> None:
    """Write a PNG by hand: [H, W] or [H, W, C] samples of `depth` bits.

    Args:
        colour_type: 0 grey, 2 RGB, 3 palette, 4 grey and alpha (PNG specification).
    """
    height, width = values.shape[:2]
    rows = b""
    for row in values.reshape(height, -1):
        bits = "".join(format(int(value), f"0{depth}b") for value in row)
        bits += "0" * (-len(bits) % 8)
        rows += b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    chunks = _chunk(b"IHDR", header) + (_chunk(b"PLTE", palette) if palette else b"")
    body = chunks + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
