"""Who may write to a run's folder: one launch at a time, and of it one attempt.

A claim is a file `claims/<generation>[.<token>].json`; the newest generation counts. Taking a run,
starting another attempt and giving a run back all add a generation, so a holder who was taken for
dead finds a newer one than its own and writes nothing any more (fencing).

Guaranteed on a local or shared POSIX file system: a generation is given out once, because its file
is linked into place, which fails where the name exists. On object stores, where pyarrow has no
conditional write, a claim is written under a name of its own and looked at again after `SETTLE_S`:
of one generation the claim counts that the store dated first, by name where dates are equal. That
is safe as long as the store lists what was written (S3, GCS and Azure do) and its own clocks differ
by less than `SETTLE_S`. In both cases a write that is under way at the moment of a take-over can
still arrive: each attempt's checkpoints have names of their own, and what an attempt of the same
run computes has the same bits.
"""

import os
import re
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace

from rml_platform.run.codec import Codec, DamagedFileError
from rml_platform.run.run_folder import CLAIMS as CLAIMS
from rml_platform.run.storage import Folder
from rml_platform.run.task import Process
from rml_trainers.errors import RmlError

SETTLE_S = 2.0
"""Time from writing a claim to looking who was first, on object stores: more than the second that
their dates are exact to."""
NONE_BEGINS = 2**31 - 1
"""`Claim.attempt` where a launch is through with a run: above all of its attempts, none of which
may begin any more."""
_NAME = re.compile(r"(\d{9})(?:\.([0-9a-f]{12}))?\.json")


class FencedError(RmlError):
    """Somebody else holds the run by now: whoever finds this writes nothing more to its folder."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Who holds a run."""

    launch_id: str
    launcher: Process
    worker: Process | None = None
    """The process that trains, once an attempt has begun."""
    attempt: int = 0
    """`RunTask.hand_out` of the attempt that has it; 0 while only its launch has."""
    is_given_back: bool = False
    """The holder is done with the run: anybody may take it."""
    time: float = 0.0
    """Unix time of the claim, for a person."""

    def excludes(self, launch_id: str, attempt: int) -> bool:
        """Whether an attempt of a launch may not have the run: another launch has it, or a later
        attempt of its own."""
        if self.launch_id == launch_id:
            return self.attempt > attempt
        return not self.is_given_back


CLAIM = Codec[Claim](Claim)


@dataclass(frozen=True)
class Held:
    """The newest claim of a run, and its place in the order."""

    generation: int
    file: str
    claim: Claim | None
    """None where its file cannot be read; nobody can be found behind such a claim."""


class ClaimBoard:
    """The claims of one run."""

    def __init__(self, run_folder: Folder) -> None:
        self._folder = run_folder.child(CLAIMS)
        self._mine = ""
        """File of the claim that this object made last."""

    def newest(self) -> Held | None:
        """The claim that counts, None where there never was one."""
        found = self._newest_file()
        if found is None:
            return None
        generation, name = found
        try:
            content = self._folder.read(name)
            claim = (
                None if content is None else CLAIM.decode(content, f"{self._folder.path}/{name}")
            )
        except DamagedFileError:
            claim = None
        return Held(generation, name, claim)

    def is_mine(self) -> bool:
        """Whether the claim that this object made last still is the one that counts."""
        found = self._newest_file()
        return found is not None and found[1] == self._mine

    def check(self) -> None:
        """Raises FencedError when the claim was lost, before something is written."""
        if not self.is_mine():
            raise FencedError(f"another attempt holds the run {self._folder.path} by now")

    def write(self, claim: Claim, after: Held | None) -> None:
        """Put a claim up as the successor of the one that was found; `is_mine` tells, after
        `settle`, whether it is the first to do so."""
        generation = after.generation + 1 if after else 1
        content = CLAIM.encode(replace(claim, time=time.time()))
        if self._folder.local:
            name = f"{generation:09d}.json"
            self._mine = name if _create(self._folder, name, content) else ""
        else:
            self._mine = f"{generation:09d}.{uuid.uuid4().hex[:12]}.json"
            self._folder.write(self._mine, content)

    def take(self, claim: Claim, after: Held | None) -> bool:
        """Claim the run as the successor of the claim that was found; False: somebody was first."""
        return take_all([(self, claim, after)])[0]

    @property
    def settles_at_once(self) -> bool:
        return self._folder.local is not None

    def forget_old(self) -> None:
        """Delete claims that no longer matter; the newest two generations stay."""
        found = self._files()
        newest = max((generation for generation, _, _ in found), default=0)
        for generation, _, name in found:
            if generation < newest - 1:
                self._folder.delete(name)

    def _newest_file(self) -> tuple[int, str] | None:
        found = self._files()
        if not found:
            return None
        generation = max(g for g, _, _ in found)
        _, name = min((dated, name) for g, dated, name in found if g == generation)
        return generation, name

    def _files(self) -> list[tuple[int, int, str]]:
        """Generation, date by the store's own clock, and name of every claim."""
        return [
            (int(match[1]), info.mtime_ns or 0, info.base_name)
            for info in self._folder.listed()
            if (match := _NAME.fullmatch(info.base_name))
        ]


def take_all(wanted: Iterable[tuple[ClaimBoard, Claim, Held | None]]) -> list[bool]:
    """Claim many runs, each as the successor of the claim that was found; which of them are the
    caller's now. Where a store has to settle it is waited for once."""
    boards = []
    for board, claim, after in wanted:
        board.write(claim, after)
        boards.append(board)
    if not all(board.settles_at_once for board in boards):
        time.sleep(SETTLE_S)
    taken = [board.is_mine() for board in boards]
    for board, is_mine in zip(boards, taken, strict=True):
        if is_mine:
            board.forget_old()
    return taken


def give_back(board: ClaimBoard, launch_id: str, *, is_through: bool = False) -> None:
    """Let anybody take the run, unless another launch has it by now.

    Args:
        is_through: but no attempt of this launch, however late it looks for the first time.
    """
    held = board.newest()
    claim = held.claim if held else None
    if claim is not None and claim.launch_id == launch_id and not claim.is_given_back:
        attempt = NONE_BEGINS if is_through else claim.attempt
        board.write(replace(claim, is_given_back=True, attempt=attempt), held)


def _create(folder: Folder, name: str, content: bytes) -> bool:
    """Make a local file with its content in one step; False where the name exists."""
    assert folder.local is not None
    folder.local.mkdir(parents=True, exist_ok=True)
    temporary = folder.local / f".{name}.{uuid.uuid4().hex[:8]}"
    temporary.write_bytes(content)
    try:
        os.link(temporary, folder.local / name)
    except FileExistsError:
        return False
    except OSError:  # a file system without links: the name is exclusive, its content comes after
        try:
            with (folder.local / name).open("xb") as file:
                file.write(content)
        except FileExistsError:
            return False
    finally:
        temporary.unlink(missing_ok=True)
    return True
