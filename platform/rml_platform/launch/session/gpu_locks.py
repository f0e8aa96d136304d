"""Which GPUs of this machine a launch has. Each local Ray would give out all that it sees, so two
launches would train on the same one, whose memory was measured for one run.

A GPU is held by a lock of the kernel (flock) on a file that stays: it ends with its process,
however that dies. It keeps off launches of this user that name GPUs alike (`CUDA_VISIBLE_DEVICES`);
who starts a process by other means is not kept off.
"""

import contextlib
import fcntl
import os
import re
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from rml_platform.launch.session.errors import ClusterError
from rml_platform.run.faults.outages import is_outage
from rml_platform.run.files.temporary import SHORT

VISIBLE = "CUDA_VISIBLE_DEVICES"
LOOK_EVERY_S = 1.0


@dataclass(frozen=True)
class HeldGpus:
    """GPUs that nobody else is given until they are released."""

    names: tuple[str, ...] = ()
    """As `CUDA_VISIBLE_DEVICES` has them."""
    files: tuple[TextIO, ...] = ()
    """Open files whose locks are held."""
    others: tuple[str, ...] = ()
    """Ids of the processes that have the rest of what was asked for."""

    def release(self) -> None:
        """Let others have them."""
        for file in self.files:
            file.close()


def gpu_names(count: int) -> tuple[str, ...]:
    """The GPUs that this process sees, `count` of them, by the names that make them visible."""
    asked = os.environ.get(VISIBLE)
    names = [str(i) for i in range(count)] if asked is None else asked.split(",")
    return tuple(name.strip() for name in names[:count])


def take_free(names: Sequence[str], at_most: int | None = None) -> HeldGpus:
    """Hold those of some GPUs that no other launch holds; where `at_most` says so, not all of them.
    Raises ClusterError where the folder of the locks is another user's."""
    held = dict[str, TextIO]()
    others = dict[str, None]()
    folder = _folder() if names else SHORT
    for name in names:
        if len(held) == at_most:
            break
        lock = folder / f"{re.sub(r'[^A-Za-z0-9-]', '_', name)}.lock"
        file = open(lock, "a+", opener=_opener, encoding="ascii")  # noqa: SIM115 - it is kept
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            others[file.read().strip()] = None
            file.close()
        else:
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
            held[name] = file
    return HeldGpus(tuple(held), tuple(held.values()), tuple(filter(None, others)))


def _is_wanted(ask: Callable[[], bool]) -> bool:
    try:
        return ask()
    except OSError as error:
        if not is_outage(str(error)):
            raise
        return True


def wait_for_free(
    names: Sequence[str],
    at_least: int,
    is_wanted: Callable[[], bool],
    on_note: Callable[[str], None],
    at_most: int | None = None,
) -> HeldGpus | None:
    """Hold the free ones of some GPUs as soon as they are enough; None where nothing wants them
    any more. Meanwhile others may have them all.

    Args:
        at_least: how many are enough.
        is_wanted: asked between two looks; where the storage is away, and does not tell, it counts
            as yes.
        at_most: how many can be of use; default: all.
    """
    useful = len(names) if at_most is None else min(at_most, len(names))
    is_told = False
    while len((held := take_free(names, at_most)).names) < at_least:
        held.release()
        if not _is_wanted(is_wanted):
            return None
        if not is_told:
            on_note(
                f"waiting for {at_least} GPU{'s' if at_least > 1 else ''} of this machine: "
                f"{_whose(held)} has {len(names) - len(held.names)} of {len(names)}"
            )
            is_told = True
        _wait()
    if len(held.names) < useful:
        on_note(
            f"{len(held.names)} of {len(names)} GPUs are taken (number {', '.join(held.names)}): "
            f"{_whose(held)} has the others"
        )
    return held


@contextlib.contextmanager
def only_visible(held: HeldGpus) -> Iterator[None]:
    """What is started in this context sees no other GPUs."""
    before = os.environ.get(VISIBLE)
    if held.names:
        os.environ[VISIBLE] = ",".join(held.names)
    try:
        yield
    finally:
        if before is not None:
            os.environ[VISIBLE] = before
        elif held.names:
            del os.environ[VISIBLE]


def _wait() -> None:
    time.sleep(LOOK_EVERY_S)


def _whose(held: HeldGpus) -> str:
    processes = f" (process {', '.join(held.others)})" if held.others else ""
    return f"another launch of yours{processes}"


def _folder() -> Path:
    """This user's folder of locks: the same one whatever TMPDIR is."""
    folder = SHORT / f"rml-gpus-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    is_own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    if not is_own or stat.S_IMODE(found.st_mode) & 0o077:
        raise ClusterError(
            f"{folder} has to be a folder that this user alone opens (mode 0700): GPUs are locked "
            "there; remove it, or have it removed"
        )
    return folder


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)
