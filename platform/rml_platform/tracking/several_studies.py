"""Publishers of a launch over several studies: every run goes to each study that has it."""

from collections.abc import Callable, Iterable, Mapping

from rml_platform.run.run_folder import RunFolder
from rml_platform.tracking.publisher import Publisher
from rml_platform.tracking.tracker import Tracker


class StudyPublishers:
    """One publisher per study on one tracker."""

    def __init__(
        self,
        tracker: Tracker,
        studies: Mapping[str, Mapping[str, Mapping[str, str]]],
        on_note: Callable[[str], None],
    ) -> None:
        """`studies`: of each study the ids of its runs, with the tags that only it knows. A run is
        recorded under the first that has it; the others become further studies of it."""
        self._publishers = [
            (frozenset(labels), Publisher(tracker, study, on_note, labels))
            for study, labels in studies.items()
        ]

    @classmethod
    def checked(
        cls,
        tracker: Tracker,
        studies: Mapping[str, Mapping[str, Mapping[str, str]]],
        on_note: Callable[[str], None],
    ) -> "StudyPublishers":
        """Publishers on a tracker that has answered. Raises TrackingError."""
        tracker.check()
        return cls(tracker, studies, on_note)

    def sync(self, runs: Iterable[RunFolder], *, closing: bool = False) -> list[str]:
        """Send what is new; returns the ids of the runs that could not be brought up to date."""
        runs = tuple(runs)
        behind = [
            run_id
            for run_ids, publisher in self._publishers
            for run_id in publisher.sync(
                [run for run in runs if run.run_id in run_ids], closing=closing
            )
        ]
        return list(dict.fromkeys(behind))
