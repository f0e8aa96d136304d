"""Folders in which something is put together before it gets its name: hidden, and named after the
process that makes them, so that those of killed processes are told from those that are still
written."""

import re
import shutil
import socket
import uuid
from pathlib import Path

from rml_platform.run.task import Process

_NAME = re.compile(r"\..+\.(?P<machine>[0-9a-f]*)-(?P<pid>\d+)-(?P<started>\d*)\.[0-9a-f]{8}")


def staging_name(name: str) -> str:
    """Name of a new folder of this process, to be renamed to `name` when it is whole."""
    own = Process.current()
    return f".{name}.{own.machine}-{own.pid}-{own.started}.{uuid.uuid4().hex[:8]}"


def sweep(folder: Path) -> None:
    """Remove what processes have left that are dead; of another machine's processes nothing is
    known, and theirs stay."""
    for left in folder.glob(".*"):
        found = _NAME.fullmatch(left.name)
        if found is not None and found["machine"] == Process.current().machine and _is_gone(found):
            shutil.rmtree(left, ignore_errors=True)


def _is_gone(found: re.Match[str]) -> bool:
    maker = Process(
        host=socket.gethostname(),
        pid=int(found["pid"]),
        started=found["started"],
        machine=found["machine"],
    )
    return maker.is_gone() is True
