"""Stages that several runs of a grid have in common: the state at the end of such a stage is kept
in `<storage>/beginnings/<hash>/`, and what was reported of it beside that in `<hash>.json`.

The first run that gets there leaves its checkpoint and its reports; runs that start later take them
over instead of training the same steps again (`rml_trainers.training.shared_stages` says why no bit
of their results changes). Runs that start together all train it: who came first shows in no result
and in no history.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rml_platform.run.checkpoints import MANIFEST
from rml_platform.run.codec import DamagedFileError
from rml_platform.run.metric_log import take_history, write_history
from rml_platform.run.run_folder import RunFolder
from rml_platform.run.storage import Folder
from rml_platform.run.task import RunTask
from rml_trainers.checkpoint.folder import verify_checkpoint
from rml_trainers.config import RunConfig
from rml_trainers.errors import CheckpointError
from rml_trainers.training import shared_stages
from rml_trainers.training.shared_stages import StageEnd

FOLDER = "beginnings"
_logger = logging.getLogger(__name__)


class StageEnds:
    """The ends of all stages of many runs, each run's worked out once."""

    def __init__(self, configs: Mapping[str, RunConfig] | None = None) -> None:
        """`configs`: by run id, where they are at hand. Otherwise the task is asked, which keeps
        what it makes of its text: with ten thousand tasks that fills the memory."""
        self._configs = configs or {}
        self._ends: dict[str, tuple[StageEnd, ...]] = {}

    def of(self, task: RunTask) -> tuple[StageEnd, ...]:
        """Of one run, with hashes that are equal where their states are, and where these and what
        is reported up to them are; none of a repeat, which is to differ from its first step on."""
        if task.run_id not in self._ends:
            ends: tuple[StageEnd, ...] = ()
            if not task.repeat_of:
                config = self._configs.get(task.run_id) or task.config
                ends = shared_stages.stage_ends(
                    config, split_hash=task.split_hash, data_hash=task.data_hash
                )
            self._ends[task.run_id] = ends
        return self._ends[task.run_id]

    def last_of(self, task: RunTask) -> str:
        """Hash of the end of the whole run, which is not taken over; empty where it has none."""
        return self.of(task)[-1].history if self.of(task) else ""


def mark_shared(
    tasks: Sequence[RunTask],
    neighbours: Sequence[RunTask] = (),
    ends: StageEnds | None = None,
) -> list[RunTask]:
    """Tasks that know which of their stages others have too, those that train one before those that
    can take its end over.

    `neighbours` are runs of the same study that are done already, and may have left something.
    """
    ends = ends or StageEnds()
    counts = Counter(end.history for task in (*tasks, *neighbours) for end in ends.of(task))
    first = list[RunTask]()
    followers = list[RunTask]()
    trained = set[str]()
    for task in tasks:
        shared = tuple(end.history for end in ends.of(task) if counts[end.history] > 1)
        group = followers if trained.intersection(shared) else first
        group.append(replace(task, shared_stages=shared))
        trained.update(shared)
    return first + followers


class SharedStages:
    """What one run leaves for others and takes from them."""

    def __init__(self, task: RunTask) -> None:
        self._folder = Folder.open(task.storage).child(FOLDER)
        self._run_folder = RunFolder.of(task.storage, task.run_id).folder
        self._shared = {
            end.step: end.history
            for end in StageEnds().of(task)
            if end.history in task.shared_stages
        }
        self._num_steps = task.config.schedule.total_steps

    def leave(self, step: int, checkpoint: Path) -> None:
        """Store the checkpoint of a step that ends a shared stage, and what was reported up to it,
        unless they are there. The pieces of the metric log up to this step are written.

        A full disk is only told: this run loses nothing, and the others train the same steps
        themselves. So it is where a piece of the log is damaged.
        """
        name = self._shared.get(step)
        if name is None or self._is_complete(name):
            return
        try:
            write_history(self._folder, _reports_of(name), self._run_folder, step)
            self._folder.upload(checkpoint, name, last=MANIFEST)
        except (OSError, DamagedFileError) as error:
            if not self._is_complete(name):  # otherwise another run was quicker
                _logger.warning("the end of shared stage %s could not be stored: %s", name, error)

    def find(self, scratch: Path, on_damaged: Callable[[str], None]) -> tuple[str, Path] | None:
        """Name and local folder of the furthest shared stage that was trained already, verified;
        what was reported of it is in this run's metric log then.

        The end of the whole run is none: a run that is done has a result, and is not started.

        Raises:
            OSError: the storage is away; this may be asked again.
        """
        for step, name in sorted(self._shared.items(), reverse=True):
            if step >= self._num_steps or not self._is_complete(name):
                continue
            folder = self.fetch(name, scratch)
            try:
                verify_checkpoint(folder)
                take_history(self._folder, _reports_of(name), self._run_folder, step)
            except (CheckpointError, DamagedFileError) as error:
                on_damaged(f"the end of shared stage {name} is damaged and trained again: {error}")
                self._folder.child(name).delete_all()
                self._folder.delete(_reports_of(name))
                continue
            return name, folder
        return None

    def fetch(self, name: str, scratch: Path) -> Path:
        """Local folder of a shared stage that another worker found."""
        return self._folder.child(name).download(scratch / name)

    def step_of(self, name: str) -> int:
        """Step that a shared stage ends at."""
        return next(step for step, known in self._shared.items() if known == name)

    def _is_complete(self, name: str) -> bool:
        """One that an earlier version left has no reports."""
        is_whole = MANIFEST in self._folder.child(name).files()
        return is_whole and _reports_of(name) in self._folder.files()


def _reports_of(name: str) -> str:
    return f"{name}.json"
