"""Files that are damaged, clocks that were wrong when files were written, disks that are full."""

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from rml_dashboards.contract.run_folder import HEARTBEAT_FILE, RESULT_FILE
from rml_platform.chaos.arena import Arena, MissedError
from rml_platform.chaos.faults.fault import Strike
from rml_platform.chaos.faults.processes import any_worker
from rml_platform.chaos.targets import Target

DAY_S = 86400.0
BIGGEST_BYTES = 32 * 1024
"""A file may not grow beyond this where the disk is `full`: less than any checkpoint's weights,
more than what is written beside them."""


def truncated(content: bytes, rng: Random) -> bytes:
    return content[: rng.randrange(len(content))] if content else b"{"


def flipped(content: bytes, rng: Random) -> bytes:
    """One byte is another one, as after a bad sector."""
    if not content:
        return b"\x00"
    place = rng.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]


def emptied(content: bytes, rng: Random) -> bytes:
    """What a machine that loses its power leaves of a file whose length was written first."""
    return b"\x00" * len(content)


def not_what_it_was(content: bytes, rng: Random) -> bytes:
    return b"[]"


DAMAGES: tuple[Callable[[bytes, Random], bytes], ...] = (
    truncated,
    flipped,
    emptied,
    not_what_it_was,
)


def damaged(pattern: str, where: str) -> Strike:
    """The launch is killed, and one of the files that a pattern finds below the output folder is
    damaged before the next launch."""

    def strike(arena: Arena, rng: Random) -> str:
        kill_launches(arena)
        files = sorted(file for file in arena.out.glob(pattern) if file.is_file())
        if not files:
            arena.launch()
            raise MissedError(f"there is no {where} yet")
        file = rng.choice(files)
        damage = rng.choice(DAMAGES)
        spoil(file, damage, rng)
        if file.name == RESULT_FILE:
            arena.forgiven.add(file.parent.name)
        arena.launch()
        return f"{file.relative_to(arena.out)} {damage.__name__.replace('_', ' ')}"

    return strike


def spoil(file: Path, damage: Callable[[bytes, Random], bytes], rng: Random) -> None:
    """Damage a file where it is."""
    file.write_bytes(damage(file.read_bytes(), rng))


def kill_launches(arena: Arena) -> None:
    """End every launch and whatever trains for it, without a word to them."""
    for launch in arena.living:
        launch.end()
    gone_by = time.monotonic() + arena.patience_s
    while arena.workers() and time.monotonic() < gone_by:
        time.sleep(0.1)


def clock_ahead(arena: Arena, rng: Random) -> str:
    """What a machine leaves behind that dies while its clock is a day ahead."""
    kill_launches(arena)
    files = sorted(arena.out.glob(f"runs/*/{HEARTBEAT_FILE}"))
    changed = 0
    for file in [*files, *sorted(arena.out.glob("runs/*/claims/*.json"))]:
        try:
            values = json.loads(file.read_bytes())
        except ValueError:  # an earlier fault of this round
            continue
        if isinstance(values, dict) and "time" in values:
            values["time"] = time.time() + DAY_S
            file.write_text(json.dumps(values))
            changed += 1
    arena.launch()
    return f"{changed} heartbeats and claims of a dead launch from tomorrow"


def disk_full(arena: Arena, rng: Random) -> str:
    """No checkpoint can be written any more.

    A limit on the size of a file (EFBIG instead of ENOSPC) set on the living process, because
    filling a disk takes one's own. A launch that ends over it is launched again without it.
    """
    run_id, target = any_worker(arena, rng)
    if not target.limit_files(BIGGEST_BYTES):
        raise MissedError(f"{target} had ended by then")
    launch = arena.launches[-1]
    end = time.monotonic() + arena.patience_s
    while launch.exit_code is None and _trains(arena, target) and time.monotonic() < end:
        time.sleep(0.1)
    if launch.exit_code is None:
        target.limit_files(None)
    return f"no file of {target}, which trains {run_id}, beyond {BIGGEST_BYTES} bytes"


def _trains(arena: Arena, target: Target) -> bool:
    return target.process in [beat.worker for beat in arena.workers().values()]


def all_files_of_a_run_gone(arena: Arena, rng: Random) -> str:
    """Somebody tidies up and deletes the checkpoints of a run that is not done."""
    run_id, target = any_worker(arena, rng)
    kill_launches(arena)
    if run_id in arena.done():  # it came to its end meanwhile, and nobody will train it again
        arena.launch()
        raise MissedError(f"{run_id} was done before its launch was dead")
    arena.run(run_id).folder.child("checkpoints").delete_all()
    arena.launch()
    return f"the checkpoints of {run_id} are deleted ({signal.SIGKILL.name} to {target} before)"
