"""Folders in the system's temporary folder that do not outlive their process for long, and others
that only one process may have."""

import atexit
import contextlib
import hashlib
import itertools
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rml_platform.run.files.earlier_start import is_of_an_earlier_start, made_here
from rml_platform.run.task import Process

SHORT = Path("/tmp")
"""Where a folder for sockets lies if the system's temporary folder has a long name."""

_OWNER = re.compile(r"rml-[a-z]+-(?P<pid>\d+)-(?P<machine>[0-9a-f]{6})(?P<started>[0-9a-f]*)-\d+")
"""The process that a folder belongs to, in the folder's name, which has to be short: its start in
whole seconds, and enough of its machine to tell it from others."""
MADE_ON = ".made-on"
"""In each folder, a link to nothing whose target names the machine and its start: the folder's own
name has no room for them, and a link is there whole or not at all, also after a loss of power."""

_open = set[Path]()


@contextlib.contextmanager
def temporary_folder(prefix: str, place: Path | None = None) -> Iterator[Path]:
    """A folder named `<prefix><process>-…` for this user alone, gone when the context ends.

    A process that is killed leaves its folder behind; the next that wants one with this prefix on
    the same machine sweeps it away.

    Args:
        place: where; default: the system's temporary folder.
    """
    place = place or Path(tempfile.gettempdir())
    sweep(prefix, place)
    own = _made(prefix, place)
    _open.add(own)
    try:
        yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)
        _open.discard(own)  # not before it is gone: a signal may come while it goes


def first_free(folder: Path) -> Path:
    """A new folder of this name, or of this with a number behind it."""
    for number in itertools.count():
        own = folder.with_name(f"{folder.name}.{number}") if number else folder
        with contextlib.suppress(FileExistsError):
            own.mkdir(parents=True)
            return own
    raise AssertionError("numbers do not end")


def owned_name(prefix: str, owner: Process, number: int) -> str:
    """Name of a process's folder; it counts them."""
    started = f"{int(owner.started) // 100:x}" if owner.started else ""
    return f"{prefix}{owner.pid}-{_short(owner.machine)}{started}-{number}"


@atexit.register
def remove_open() -> None:
    """Remove the folders of this process that are there: it is about to end without leaving their
    contexts."""
    for folder in _open.copy():
        own = _OWNER.fullmatch(folder.name)
        if own is not None and int(own["pid"]) == os.getpid():  # not those that a fork inherited
            shutil.rmtree(folder, ignore_errors=True)


def sweep(prefix: str = "rml-*-", place: Path | None = None) -> None:
    """Remove the folders with a prefix whose processes are dead, also those from before this
    machine was started last. Of processes of other machines and containers, which may share a
    temporary folder, nothing is known: theirs stay.

    Args:
        prefix: default: that of every such folder of the project.
        place: default: everywhere that they are made.
    """
    machine = Process.current().machine
    for here in (place,) if place else {Path(tempfile.gettempdir()), SHORT}:
        for old in here.glob(f"{prefix}*-*"):
            own = _OWNER.fullmatch(old.name)
            if own is None:
                continue
            is_ours = own["machine"] == _short(machine)
            if _is_gone(own, machine) if is_ours else _is_from_before(old):
                shutil.rmtree(old, ignore_errors=True)


def _made(prefix: str, place: Path) -> Path:
    me = Process.current()
    for number in itertools.count():
        folder = place / owned_name(prefix, me, number)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            if made := made_here():
                with contextlib.suppress(OSError):  # without it the folder may stay after a restart
                    (folder / MADE_ON).symlink_to(made)
            return folder
    raise AssertionError("numbers do not end")


def _is_from_before(folder: Path) -> bool:
    try:
        made = str((folder / MADE_ON).readlink())
    except OSError:  # an earlier version's, or another user's
        return False
    return is_of_an_earlier_start(made, folder)


def _is_gone(own: re.Match[str], machine: str) -> bool:
    started = own["started"]
    owner = Process(
        host=socket.gethostname(),
        pid=int(own["pid"]),
        started=str(100 * int(started, 16)) if started else "",
        machine=machine,
    )
    return owner.is_gone() is True


def _short(machine: str) -> str:
    """The machine in six digits; by its name where the system tells nothing better."""
    return (machine or hashlib.sha256(socket.gethostname().encode()).hexdigest())[:6]
