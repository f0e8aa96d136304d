"""What an earlier start of this machine has left: the processes behind it are gone for certain.

Three things have to hold, because each alone is true of folders that somebody still works in: host
names repeat (containers), every machine that shares a folder has another start, and the machine
that exports a folder sees it as a disk of its own. Clocks are not asked, which may be set.
"""

import hashlib
import socket
from pathlib import Path

import psutil

from rml_platform.run.task import start_of_machine

DISKS = frozenset({"btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "xfs", "zfs"})
"""File systems that one machine has at a time."""


def made_here() -> str:
    """Names this machine and its start, for what is made now: two numbers in hexadecimal digits;
    empty where the system does not tell."""
    start = start_of_machine()
    return f"{_number(socket.gethostname())}-{_number(start)}" if start else ""


def is_of_an_earlier_start(made: str, place: Path) -> bool:
    """Whether something was made before this machine was started last: under its name, in another
    start, and on a disk that no other machine has meanwhile.

    Args:
        made: what `made_here` said when it was made.
    """
    now = made_here()
    if "" in (made, now) or made == now:
        return False
    return made.partition("-")[0] == now.partition("-")[0] and disk_of(place) in DISKS


def disk_of(place: Path) -> str:
    """Kind of the file system that a path lies on; empty where it is on none that is seen."""
    place = place.resolve()
    over = [one for one in psutil.disk_partitions(all=True) if place.is_relative_to(one.mountpoint)]
    over.sort(key=lambda one: len(one.mountpoint))  # of equal ones the last covers the others
    return over[-1].fstype if over else ""


def _number(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
