"""`<storage>/beginnings/<hash>/`: states at the end of a stage that several runs of a grid pass
through.

The first run that gets there leaves its checkpoint; runs that start later take it over instead of
training the same steps again (`rml_trainers.training.shared_stages` says why no bit of their
results changes). Runs that start together all train it.
"""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from rml_platform.run.checkpoints import MANIFEST
from rml_platform.run.storage import Folder
from rml_platform.run.task import RunTask
from rml_trainers.checkpoint.folder import verify_checkpoint
from rml_trainers.errors import CheckpointError
from rml_trainers.training.shared_stages import Beginning, beginnings

FOLDER = "beginnings"
_logger = logging.getLogger(__name__)


def mark_shared(tasks: Sequence[RunTask], neighbours: Sequence[RunTask] = ()) -> list[RunTask]:
    """Tasks that know which of their beginnings others have too, those that make one before those
    that can take it.

    `neighbours` are runs of the same study that are done already, and may have left something.
    """
    counts = Counter(b.hash for task in (*tasks, *neighbours) for b in of_task(task))
    first = list[RunTask]()
    followers = list[RunTask]()
    made = set[str]()
    for task in tasks:
        shared = tuple(b.hash for b in of_task(task) if counts[b.hash] > 1)
        (followers if made.intersection(shared) else first).append(
            replace(task, shared_beginnings=shared)
        )
        made.update(shared)
    return first + followers


def of_task(task: RunTask) -> tuple[Beginning, ...]:
    return beginnings(task.config, split_hash=task.split_hash, data_hash=task.data_hash)


class SharedBeginnings:
    """What one run leaves for others and takes from them."""

    def __init__(self, task: RunTask) -> None:
        self._folder = Folder.open(task.storage).child(FOLDER)
        self._shared = {b.step: b.hash for b in of_task(task) if b.hash in task.shared_beginnings}
        self._num_steps = task.config.schedule.total_steps

    def leave(self, step: int, checkpoint: Path) -> None:
        """Store the checkpoint of a step where others begin, unless one is there.

        A full disk is only told: this run loses nothing, and the others train the same steps
        themselves.
        """
        name = self._shared.get(step)
        if name is None or self._is_complete(name):
            return
        try:
            self._folder.upload(checkpoint, name, last=MANIFEST)
        except OSError as error:
            if not self._is_complete(name):  # otherwise another run was quicker
                _logger.warning("the shared beginning %s could not be stored: %s", name, error)

    def find(self, scratch: Path, on_damaged: Callable[[str], None]) -> tuple[str, Path] | None:
        """Name and local folder of the furthest beginning there is, verified; the whole run itself
        is none."""
        for step, name in sorted(self._shared.items(), reverse=True):
            if step >= self._num_steps or not self._is_complete(name):
                continue
            folder = self.fetch(name, scratch)
            try:
                verify_checkpoint(folder)
            except CheckpointError as error:
                on_damaged(f"shared beginning {name} is damaged and made again: {error}")
                self._folder.child(name).delete_all()
                continue
            return name, folder
        return None

    def fetch(self, name: str, scratch: Path) -> Path:
        """Local folder of a beginning that another worker found."""
        return self._folder.child(name).download(scratch / name)

    def _is_complete(self, name: str) -> bool:
        return MANIFEST in self._folder.child(name).files()
