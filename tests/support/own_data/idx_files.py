"""Small MNIST files in the idx format."""

import gzip
from pathlib import Path

import numpy as np

from tests.support.image_folders import UInt8Array


def write_idx(values: UInt8Array, path: Path) -> None:
    """Array of bytes in the idx format; gzipped where the name ends in .gz."""
    header = bytes([0, 0, 8, values.ndim]) + np.asarray(values.shape, dtype=">u4").tobytes()
    content = header + values.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_mnist(
    root: Path, num_train: int = 24, num_val: int = 8, place: str = "mnist", suffix: str = ".gz"
) -> Path:
    """The four files under `root/place`: image i shows digit i % 10 as a bright column i % 10 on a
    dim ground."""
    for prefix, count in (("train", num_train), ("t10k", num_val)):
        digits = (np.arange(count) % 10).astype(np.uint8)
        images = np.random.default_rng(count).integers(0, 40, (count, 28, 28), dtype=np.uint8)
        images[np.arange(count), :, 2 * digits] = 250
        write_idx(images, root / place / f"{prefix}-images-idx3-ubyte{suffix}")
        write_idx(digits, root / place / f"{prefix}-labels-idx1-ubyte{suffix}")
    return root / place
