"""What a tracker is to the platform: it takes over what a run's folder holds, as often as it is
asked to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from rml_platform.run.run_folder import RunFolder
from rml_trainers.errors import RmlError

NO_LABELS: Mapping[str, str] = MappingProxyType({})
OnNote = Callable[[str], None]
"""Told what a person should know."""


class TrackingError(RmlError):
    """The tracker cannot be reached or refuses; training goes on without it and catches up
    later."""


@dataclass
class Sent:
    """What a record lacked and was given."""

    is_new: bool = False
    """There was no record of the run."""
    num_values: int = 0
    """Values of metrics."""
    status: str = ""
    """The status that was set; empty where the record had it with all that belongs to it."""

    @property
    def is_nothing(self) -> bool:
        """Whether the record had everything."""
        return self == Sent()


class Tracker(Protocol):
    """Keeps one record for each run id, whatever was retried, restarted or deleted."""

    @property
    def name(self) -> str:
        """What messages call it; holds no password."""
        ...

    def check(self) -> None:
        """Answer within seconds whether it can be used.

        Raises:
            TrackingError: it cannot; the message says what to do.
        """
        ...

    def publish(
        self,
        run: RunFolder,
        study: str,
        *,
        closing: bool,
        on_note: OnNote,
        labels: Mapping[str, str] = NO_LABELS,
    ) -> None:
        """Bring the record of a run up to date with its folder.

        Idempotent at any cut: whatever moment an earlier call died at, calling again leaves every
        value once. Nothing beyond the newest stored checkpoint is taken over.

        Args:
            study: becomes one of the run's, whichever study trained it.
            closing: the launch is over, so a run that nobody is at is not about to be restarted.
            labels: tags that only the study knows.
        Raises:
            TrackingError: it could not; the folder keeps everything for the next call.
            DamagedFileError: what was asked for cannot be read from the folder.
        """
        ...
