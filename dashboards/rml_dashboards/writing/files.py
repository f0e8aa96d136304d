"""Files that appear whole or not at all."""

import contextlib
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

FILE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
"""A name that needs no care on any file system."""


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary name beside a file, which becomes the file when all went well; its folder is made
    where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(content: bytes, path: Path) -> Path:
    """Write to a temporary name, then rename."""
    with whole_file(path) as temporary:
        temporary.write_bytes(content)
    return path


def write_text(text: str, path: Path) -> Path:
    """The same for text, as UTF-8 with Unix line ends."""
    return write_bytes(text.encode(), path)
