"""Folders in the system's temporary folder that do not outlive their process for long."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil


@contextlib.contextmanager
def temporary_folder(prefix: str, place: Path | None = None) -> Iterator[Path]:
    """A folder named `<prefix><process>-…` for this user alone, gone when the context ends.

    A process that is killed leaves its folder behind; the next that wants one with this prefix
    sweeps it away.

    Args:
        place: where; default: the system's temporary folder.
    """
    place = place or Path(tempfile.gettempdir())
    for old in place.glob(f"{prefix}*-*"):
        owner = old.name.removeprefix(prefix).split("-")[0]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(old, ignore_errors=True)
    with tempfile.TemporaryDirectory(
        prefix=f"{prefix}{os.getpid()}-", dir=place, ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)
