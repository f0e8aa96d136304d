"""Files that appear whole or not at all."""

import os
import re
import tempfile
from pathlib import Path

FILE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
"""A name that needs no care on any file system."""


def write_bytes(content: bytes, path: Path) -> Path:
    """Write to a temporary name, then rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(temporary).chmod(0o644)  # mkstemp makes it readable for its owner only
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def write_text(text: str, path: Path) -> Path:
    """The same for text, as UTF-8 with Unix line ends."""
    return write_bytes(text.encode(), path)
