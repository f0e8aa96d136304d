"""The idx format of MNIST and its relatives: a magic number, the size of each axis, then the bytes
(LeCun, 1998)."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from rml_trainers.data.dataset import UInt8Array
from rml_trainers.errors import DataError

_UNSIGNED_BYTE = 8
"""Third byte of the magic number: the type of the values."""


def read_idx(path: Path, num_axes: int) -> UInt8Array:
    """Array of unsigned bytes in an idx file, which may be gzipped (by its content, whatever its
    name).

    Raises:
        DataError: damaged, truncated, longer than it says, or another kind of file.
    """
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: corrupt or truncated ({error}); fetch the file again") from error
    start = 4 + 4 * num_axes
    if content[:4] != bytes([0, 0, _UNSIGNED_BYTE, num_axes]) or len(content) < start:
        raise DataError(
            f"{path}: not an idx file of bytes with {num_axes} axes (begins with "
            f"{content[:4].hex(' ')})"
        )
    shape = tuple(
        int(size) for size in np.frombuffer(content, dtype=">u4", count=num_axes, offset=4)
    )
    if len(content) != start + math.prod(shape):
        sizes = (
            f"{len(content) - start} bytes of values where {' × '.join(map(str, shape))} are "
            "announced"
        )
        raise DataError(f"{path}: corrupt or truncated ({sizes}); fetch the file again")
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)
