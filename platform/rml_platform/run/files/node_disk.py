"""A node's own disk: the cache of what runs read, and the working folders of runs whose storage is
elsewhere. What fails there is the node's fault, and another node can do it."""

import contextlib
import errno
import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from rml_platform.run.files.temporary import temporary_folder
from rml_trainers.errors import HubHomeError, RmlError, is_disk_full

PROBE_BYTES = 65_536
"""What is written to see whether a disk takes it; a full one may still have room for a few."""
TEMPORARY = "free or mend it, or set TMPDIR on that node to a folder on another disk"


class NodeDiskError(RmlError):
    """The node's own disk is full, or lets nothing be written: a fault of the node, not of the
    run."""


@contextlib.contextmanager
def blaming_disk(place: Path, remedy: str) -> Iterator[None]:
    """What the system refuses in this context is refused by a disk of this node.

    Args:
        place: on that disk.
        remedy: what a person can do.
    Raises:
        NodeDiskError: in the place of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise NodeDiskError(_text(place, error, remedy)) from error


def is_written_in_vain(error: BaseException) -> bool:
    """Whether a disk takes no more, whatever library told it and whatever was made of it since."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, Exception) and is_disk_full(found):
            return True
        if isinstance(found, OSError) and found.errno == errno.EROFS:
            return True
        found = found.__cause__
    return False


@contextlib.contextmanager
def work_folder() -> Iterator[Path]:
    """A folder in this node's temporary folder for as long as the context is open.

    Raises:
        NodeDiskError: it cannot be made, or its disk takes no more of what is written in the
            context: only for who writes to no other disk of this machine.
    """
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(temporary_folder("rml-work-"))
        except OSError as error:  # also where there is no usable temporary folder at all
            raise NodeDiskError(_text(_temporary(), error, TEMPORARY)) from error
        try:
            yield folder
        except Exception as error:
            if isinstance(error, HubHomeError) or not is_written_in_vain(error):
                raise
            raise NodeDiskError(_text(folder.parent, error, TEMPORARY)) from error


def check_temporary() -> None:
    """Write a small file into this node's temporary folder. Raises NodeDiskError."""
    with blaming_disk(_temporary(), TEMPORARY):
        write_probe(Path(tempfile.gettempdir()))


def write_probe(folder: Path) -> None:
    """Write a small file into a folder, to the disk, and remove it. Raises OSError."""
    probe = folder / f".rml-probe-{uuid.uuid4().hex[:8]}"
    try:
        with probe.open("wb") as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    finally:
        probe.unlink(missing_ok=True)


def _temporary() -> Path:
    """Where temporary files are meant to be, whether or not they can."""
    return Path(tempfile.tempdir or os.environ.get("TMPDIR") or "/tmp")


def _text(place: Path, error: Exception, remedy: str) -> str:
    return f"this node cannot write to its own disk, {place}: {error}; {remedy}"
