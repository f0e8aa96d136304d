"""What launches that are over have left: processes, sockets, folders."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from rml_platform.chaos.arena import Arena
from rml_platform.chaos.launches import POLL_S, marked, title

GONE_WITHIN_S = 20.0
"""How long what is on its way out may take."""
RAY_TRAINS_MARK = ".validate_storage_marker"
STAYS = ("torchinductor_",)
"""Caches of others in the temporary folder, one for each user, that are meant to stay."""


def left_behind(arena: Arena) -> list[str]:
    """One sentence for each thing that is still there after a while."""
    processes = after_a_while(lambda: _processes(arena))
    on_grounds = after_a_while(lambda: arena.grounds.left(arena.launches))
    return [*processes, *on_grounds, *_temporary(arena), *_in_run_folders(arena)]


def after_a_while(look: Callable[[], list[str]]) -> list[str]:
    """What is seen as soon as that is nothing, or in the end."""
    end = time.monotonic() + GONE_WITHIN_S
    while (found := look()) and time.monotonic() < end:
        time.sleep(POLL_S)
    return found


def _processes(arena: Arena) -> list[str]:
    """With their sockets: nothing else can hold one."""
    found = []
    for process in marked(str(arena.folder)):
        with suppress(psutil.Error):
            sockets = len(process.net_connections())
            found.append(f"process {process.pid} ({title(process)}) with {sockets} sockets")
    return found


def _temporary(arena: Arena) -> list[str]:
    own = [p.name for p in arena.temporary.iterdir() if not p.name.startswith(STAYS)]
    rays = [
        path.name
        for launch in arena.launches
        for path in Path("/tmp").glob(f"rml-ray-{launch.process.pid}-*")
    ]
    return [f"temporary {name}" for name in sorted({*own, *rays})]


def _in_run_folders(arena: Arena) -> list[str]:
    """Working folders of attempts, and files and folders that were never finished. A lock is a
    file that stays (it is never known that nobody waits for it), and so is a mark of Ray Train's
    in each of its folders."""
    runs = arena.out / "runs"
    hidden = [p for p in runs.rglob(".*") if p.suffix != ".lock" and p.name != RAY_TRAINS_MARK]
    found = [*runs.glob("*/work-*"), *hidden]
    return [f"{path.relative_to(arena.out)}" for path in sorted(found)]
