"""Folders in the system's temporary folder that do not outlive their process for long."""

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

SHORT = Path("/tmp")
"""Where a folder for sockets lies if the system's temporary folder has a long name."""

OWNER = re.compile(r"rml-[a-z]+-(\d+)-")
"""The process that a folder belongs to, in the folder's name."""

_open = set[Path]()


@contextlib.contextmanager
def temporary_folder(prefix: str, place: Path | None = None) -> Iterator[Path]:
    """A folder named `<prefix><process>-…` for this user alone, gone when the context ends.

    A process that is killed leaves its folder behind; the next that wants one with this prefix
    sweeps it away.

    Args:
        place: where; default: the system's temporary folder.
    """
    place = place or Path(tempfile.gettempdir())
    sweep(prefix, place)
    made = tempfile.TemporaryDirectory(
        prefix=f"{prefix}{os.getpid()}-", dir=place, ignore_cleanup_errors=True
    )
    own = Path(made.name)
    _open.add(own)
    try:
        with made:
            yield own
    finally:
        _open.discard(own)  # not before it is gone: a signal may come while it goes


def remove_open() -> None:
    """Remove the folders of this process that are there: it is about to end without leaving their
    contexts."""
    for folder in _open.copy():
        own = OWNER.match(folder.name)
        if own is not None and int(own[1]) == os.getpid():  # not those that a fork inherited
            shutil.rmtree(folder, ignore_errors=True)


def sweep(prefix: str = "rml-*-", place: Path | None = None) -> None:
    """Remove the folders with a prefix whose processes are dead.

    Args:
        prefix: default: that of every such folder of the project.
        place: default: everywhere that they are made.
    """
    for here in (place,) if place else {Path(tempfile.gettempdir()), SHORT}:
        for old in here.glob(f"{prefix}*-*"):
            own = OWNER.match(old.name)
            if own is not None and not psutil.pid_exists(int(own[1])):
                shutil.rmtree(old, ignore_errors=True)
