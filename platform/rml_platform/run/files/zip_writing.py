"""A zip file within a zip file: the same content gives the same bytes, whenever it is written."""

import contextlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

EPOCH = (1980, 1, 1, 0, 0, 0)
"""Time of every entry, the earliest that zip knows."""


@contextlib.contextmanager
def written_zip(archive: Path, inner_name: str) -> Iterator[zipfile.ZipFile]:
    """The inner file, open for writing. It becomes the one entry of the archive, compressed as a
    whole, when the context ends."""
    with tempfile.TemporaryFile() as laid:
        with zipfile.ZipFile(laid, "w") as inner:
            yield inner
        whole = plain_entry(inner_name, zipfile.ZIP_LZMA)
        # Large ones need other headers, which releases of Python write in different ways.
        whole.file_size = laid.seek(0, os.SEEK_END)
        laid.seek(0)
        with zipfile.ZipFile(archive, "w") as outer, outer.open(whole, "w") as packed:
            shutil.copyfileobj(laid, packed)


def plain_entry(name: str, compress_type: int = zipfile.ZIP_STORED) -> zipfile.ZipInfo:
    """An entry that tells neither when nor by whom it was written."""
    made = zipfile.ZipInfo(name, EPOCH)
    made.compress_type = compress_type
    made.external_attr = 0o644 << 16
    return made
