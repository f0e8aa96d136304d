"""Errors meant for a person: each names what is wrong, where, and how to mend it."""

import errno
import os
from typing import ClassVar

DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Error numbers of a disk, a quota or a limit on the size of files that lets no more be written."""


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


class HubHomeError(RmlError):
    """This machine's cache of timm's hub cannot be read or written: a fault of the machine."""


class HubAwayError(RmlError):
    """timm's hub did not give the weights of a network, and may do so later."""


class DeviceError(RmlError):
    """The requested device or number of devices is not there."""


def is_disk_full(error: Exception) -> bool:
    """Whether something could not be written for want of room. Libraries of other languages raise
    errors of their own, which tell it in their text alone."""
    texts = (os.strerror(number) for number in DISK_FULL)
    return getattr(error, "errno", None) in DISK_FULL or any(text in str(error) for text in texts)
