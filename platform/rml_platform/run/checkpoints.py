"""Checkpoints of one run, whoever wrote them: saved whole, verified before use, the older ones
pruned.

Layout: `<run folder>/checkpoints/<writer>/checkpoint_<step>_<attempt>/`. A writer is one launch;
each has a folder of its own.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rml_platform.run.faults.outages import is_outage, through_outages
from rml_platform.run.storage import Folder
from rml_trainers.checkpoint.folder import verify_checkpoint
from rml_trainers.errors import CheckpointError

MANIFEST = "manifest.json"
"""Written last: a checkpoint without it is incomplete."""
NUM_TO_KEEP = 2
"""The newest, and the one before it in case the newest is damaged."""
_NAME = re.compile(r"checkpoint_(\d+)_(\d+)")


@dataclass(frozen=True, order=True)
class StoredCheckpoint:
    """A checkpoint that may or may not be sound; ordered from old to new."""

    step: int
    attempt: int
    writer: str
    name: str

    @property
    def place(self) -> str:
        """`<writer>/<checkpoint>` under `checkpoints/`."""
        return f"{self.writer}/{self.name}"


@dataclass(frozen=True)
class SoundCheckpoint:
    """A verified checkpoint, lying on a local disk."""

    step: int
    name: str
    """`<writer>/<checkpoint>` under `checkpoints/`."""
    folder: Path


def checkpoint_name(step: int, attempt: int) -> str:
    """Folder name; the attempt makes it unique when a step is reached again after a crash."""
    return f"checkpoint_{step:09d}_{attempt:03d}"


class CheckpointStore:
    """The checkpoints of one run; `writer` is the part of it that this process may add to."""

    def __init__(self, run_folder: Folder, writer: str) -> None:
        self.folder = run_folder.child("checkpoints")
        self.writer = writer

    def stored(self) -> list[StoredCheckpoint]:
        """Every checkpoint there is, from old to new."""
        found = []
        for writer in self.folder.folders():
            for name in self.folder.child(writer).folders():
                if match := _NAME.fullmatch(name):
                    found.append(StoredCheckpoint(int(match[1]), int(match[2]), writer, name))
        return sorted(found)

    def save(
        self, step: int, attempt: int, source: Path, check: Callable[[], None] = lambda: None
    ) -> None:
        """Take a local checkpoint folder into the store and drop what it makes superfluous. The
        caller deletes the folder next, as `published` does.

        Args:
            check: raises where the run is another's by now; asked each time before something is
                written or deleted.
        Raises:
            CheckpointError: it cannot be written; the checkpoints before it are intact then.
        """
        own = self.folder.child(self.writer)
        name = checkpoint_name(step, attempt)

        def upload() -> None:
            check()
            own.upload(source, name, last=MANIFEST, gives_up=True)

        def prune() -> None:
            check()
            self.prune()

        try:
            through_outages(upload)
        except OSError as error:
            raise _cannot_save(own, step, error) from error
        through_outages(prune)

    def newest_sound(
        self,
        scratch: Path,
        on_damaged: Callable[[str], None],
        may_be: Callable[[StoredCheckpoint], bool] = lambda checkpoint: True,
    ) -> SoundCheckpoint | None:
        """The newest checkpoint that passes verification, downloaded to `scratch` unless it is
        local.

        `on_damaged` is told about every newer one that does not pass; nothing is deleted. Only
        those are looked at that `may_be` names.

        Raises:
            OSError: the storage is away; what it holds is not known.
        """
        for checkpoint in filter(may_be, reversed(self.stored())):
            place = self.folder.child(checkpoint.writer, checkpoint.name)
            try:
                folder = place.download(scratch / checkpoint.name)
                verify_checkpoint(folder)
            except (CheckpointError, FileNotFoundError) as error:
                on_damaged(
                    f"checkpoint of step {checkpoint.step} is damaged, the one before it is used: "
                    f"{error}"
                )
                continue
            return SoundCheckpoint(checkpoint.step, checkpoint.place, folder)
        return None

    def prune(self) -> None:
        """Keep the newest two, this writer's before others'."""
        ranked = sorted(self.stored(), key=lambda c: (c.writer == self.writer, c))
        for old in ranked[:-NUM_TO_KEEP]:
            self.folder.child(old.writer, old.name).delete_all()
        kept = {c.writer for c in ranked[-NUM_TO_KEEP:]} | {self.writer}
        for writer in self.folder.folders():
            if writer not in kept:
                self.folder.child(writer).delete_all()

    def discard_newer_than(self, step: int) -> None:
        """Delete what lies beyond the checkpoint that a run resumes from (it was found damaged)."""
        for checkpoint in self.stored():
            if checkpoint.step > step:
                self.folder.child(checkpoint.writer, checkpoint.name).delete_all()


def _cannot_save(folder: Folder, step: int, error: OSError) -> CheckpointError:
    why = error.strerror or str(error)
    remedy = "see that the storage answers" if is_outage(why) else "free some space"
    return CheckpointError(
        f"cannot save the checkpoint of step {step} to {folder.path}: {why}. "
        f"The checkpoint before it is intact: {remedy} and launch again to go on from there"
    )
