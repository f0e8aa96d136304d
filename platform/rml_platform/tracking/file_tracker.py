"""The tracker of those who want none (`--tracking-uri none`): the run folders themselves.

A run's folder holds what was asked for, every value that was measured and the final scores; tables
and figures are made of these files (`rml_dashboards.records.run_folder_reader`). So there is no
copy that could lag behind, contradict it or get lost. All that is added is what a folder cannot
know: which other studies found the run done. Each of them leaves an empty file with its name, which
two launches at once can do without harm.
"""

from collections.abc import Mapping

from rml_dashboards.contract.run_folder import STUDIES
from rml_platform.run.run_folder import RunFolder
from rml_platform.tracking.tracker import NO_LABELS, OnNote, TrackingError


class FileTracker:
    """Leaves the name of a study in the folders of the runs that it shares with another."""

    name = "the run folders"

    def check(self) -> None:
        """There is nothing to reach: where run folders cannot be written, no run can begin."""

    def publish(
        self,
        run: RunFolder,
        study: str,
        *,
        closing: bool,
        on_note: OnNote,
        labels: Mapping[str, str] = NO_LABELS,
    ) -> None:
        """Note the study, unless it trained the run itself."""
        task = run.task()
        if task is not None:
            note_study(run, task.study, study)


def note_study(run: RunFolder, trained_by: str, study: str) -> None:
    """Leave the name of a study in the folder of a run that another study trained.

    Raises:
        TrackingError: the folder cannot be written to.
    """
    if study == trained_by:
        return
    folder = run.folder.child(STUDIES)
    try:
        if study not in folder.files():
            folder.write(study, b"")
    except OSError as error:
        raise TrackingError(f"cannot write to the folder of run {run.run_id}: {error}") from error


def noted_studies(run: RunFolder) -> list[str]:
    """The studies whose names were left in a run's folder."""
    return run.folder.child(STUDIES).files()
