"""Errors meant for a person: each names what is wrong, where, and how to mend it."""

from typing import ClassVar


class RmlError(Exception):
    """Base of every error that the user can mend; the command line prints its message without a
    traceback."""

    exit_code: ClassVar[int] = 2
    """What the command line ends with."""


class ConfigError(RmlError):
    """A configuration that cannot be run: names the file, the key path, the value and the nearest
    valid choice."""


class DataError(RmlError):
    """Missing, damaged or inconsistent images, masks, lists or prepared files: names every bad
    file."""


class DataMissingError(DataError):
    """The data set is not there at all: no data root, or no folder of it. Only `rml plan` can do
    without."""


class CheckpointError(RmlError):
    """A checkpoint that is incomplete, damaged or belongs to another run."""


class NonFiniteLossError(RmlError):
    """The loss or a weight became NaN or infinite; raised before anything is saved over the last
    good checkpoint."""

    first_step: int | None = None
    """The first of the steps in one of which it happened, counted from 1 over all stages; None
    where that is not known."""
    last_step: int | None = None
    """The last of them: where it was found."""


class DeviceError(RmlError):
    """The requested device or number of devices is not there."""
