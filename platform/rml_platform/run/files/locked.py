"""A lock beside a file, which one process at a time holds."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from rml_trainers.errors import RmlError

HELD_FOR_S = 60.0
"""Who works for longer under one of these locks is slow, or stands still: others put theirs off."""


@contextlib.contextmanager
def locked(file: Path, error: type[RmlError]) -> Iterator[None]:
    """Hold a lock while the context is open; the system frees it when its holder dies.

    Args:
        file: the lock itself, which stays.
        error: raised where another process keeps it for longer than `HELD_FOR_S`: one that was
            suspended keeps it for as long as it stands still.
    """
    lock = FileLock(file)
    try:
        lock.acquire(timeout=HELD_FOR_S)
    except Timeout:
        raise error(
            f"another process has held {file} for more than {HELD_FOR_S:.0f} s; perhaps it was "
            f"suspended (Ctrl-Z, `kill -STOP`, `scontrol suspend`): `fuser {file}` names it; let "
            "it go on, or end it"
        ) from None
    try:
        yield
    finally:
        lock.release()
