"""Folders in which something is put together before it gets its name: hidden, and named after the
process that makes them and the start of its machine, so that those of killed processes are told
from those that are still written."""

import re
import shutil
import socket
import uuid
from pathlib import Path

from rml_platform.run.files.earlier_start import is_of_an_earlier_start, made_here
from rml_platform.run.task import Process

_NAME = re.compile(
    r"\..+\.(?P<machine>[0-9a-f]*)-(?P<pid>\d+)-(?P<started>\d*)"
    r"(-(?P<made>[0-9a-f]{12}-[0-9a-f]{12}))?\.[0-9a-f]{8}"
)
"""`made` is what `made_here` said; an earlier version did not write it down."""


def staging_name(name: str) -> str:
    """Name of a new folder of this process, to be renamed to `name` when it is whole."""
    own = Process.current()
    made = made_here()
    process = f"{own.machine}-{own.pid}-{own.started}{'-' if made else ''}{made}"
    return f".{name}.{process}.{uuid.uuid4().hex[:8]}"


def sweep(folder: Path) -> None:
    """Remove what processes have left that are dead, also before this machine was started last; of
    another machine's processes nothing is known, and theirs stay."""
    for left in folder.glob(".*"):
        found = _NAME.fullmatch(left.name)
        if found is None:
            continue
        is_ours = found["machine"] == Process.current().machine
        made = found["made"] or ""
        if _is_gone(found) if is_ours else is_of_an_earlier_start(made, left):
            shutil.rmtree(left, ignore_errors=True)


def _is_gone(found: re.Match[str]) -> bool:
    maker = Process(
        host=socket.gethostname(),
        pid=int(found["pid"]),
        started=found["started"],
        machine=found["machine"],
    )
    return maker.is_gone() is True
