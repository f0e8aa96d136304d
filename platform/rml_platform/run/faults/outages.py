"""A storage that is away for a while: how that is told from other errors, and how it is waited
for."""

import errno
import logging
import math
import os
import re
import sys
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
OUTAGE_S = 120.0
"""How long a worker waits for its storage, once: less than the ten minutes for which the others of
its group wait for it."""
STOPPED_S = 10.0
"""How long a launch that was stopped waits for what does not answer, all in all: a scheduler kills
it soon after."""
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 15.0
_logger = logging.getLogger(__name__)

_NUMBERS = (
    *("EIO", "EREMOTEIO", "ESTALE", "ENOTCONN", "EPIPE"),
    *("ETIMEDOUT", "ECONNREFUSED", "ECONNRESET", "ECONNABORTED"),
    *("EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH", "ENETRESET"),
)
_TEXTS = [os.strerror(getattr(errno, name)) for name in _NUMBERS if hasattr(errno, name)]
"""What a disk, a network file system or the network says. Not what a missing file, a forbidden
folder or a wrong name gives: that is the same the next time."""
OUTAGE = (
    "|".join(map(re.escape, _TEXTS)) + "|"
    # S3 as pyarrow tells it; a wrong key or bucket is none of these.
    r"AWS Error (NETWORK_CONNECTION|INTERNAL_FAILURE|SERVICE_UNAVAILABLE|SLOW_DOWN|THROTTLING|"
    r"REQUEST_TIMEOUT|UNKNOWN \(HTTP status (5\d\d|408|429)\))|"
    # Google's and Azure's stores.
    r"google::cloud::Status\((UNAVAILABLE|DEADLINE_EXCEEDED|INTERNAL|ABORTED)|"
    r"Azure Error: \[(ServerBusy|OperationTimedOut|InternalError)\]|"
    # curl and the resolver, below all of them.
    r"Couldn't connect to server|Could(n't| not) resolve host|Timeout was reached|timed out|"
    r"Temporary failure in name resolution"
)
"""Pattern of what is said of a storage that is away."""
_OUTAGE = re.compile(OUTAGE, re.IGNORECASE)


def is_outage(text: str) -> bool:
    """Whether an error of the operating system, or one that was made of it, says that a storage is
    away for a while."""
    return _OUTAGE.search(text) is not None


def patience_s() -> float:
    """For how many seconds a launcher may still wait for what does not answer: without end, as
    nobody waits for it. Where somebody has stopped it, all that it waits for on its way out has
    `STOPPED_S` together, from the first wait on."""
    stop = sys.exception()
    if not isinstance(stop, KeyboardInterrupt):
        return math.inf
    now_s = time.monotonic()
    until_s: float = vars(stop).setdefault("rml_waits_until_s", now_s + STOPPED_S)
    return max(0.0, until_s - now_s)


def until_it_answers(work: Callable[[], T]) -> T:
    """As `through_outages`, for a launcher: for as long as its `patience_s` is.

    Raises:
        OSError: something else is wrong, or it was stopped.
    """
    return through_outages(work, for_s=patience_s())


def through_outages(work: Callable[[], T], for_s: float | None = None) -> T:
    """The result of a piece of work that can be done again, which waits for a storage that is away.

    It waits longer from one try to the next. Nothing can be written into the run's log meanwhile,
    so the log of the process says that it waits. The first try may have gone well for long, as that
    of a large file does: only the end of it counts as time without the storage.

    Args:
        for_s: how long; default: `OUTAGE_S`.
    Raises:
        OSError: the storage is away for longer, or something else is wrong.
    """
    begun_s = time.monotonic()
    away_since_s: float | None = None
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            return work()
        except OSError as error:
            now_s = time.monotonic()
            is_news = away_since_s is None
            if away_since_s is None:
                away_since_s = max(begun_s, now_s - LONGEST_PAUSE_S)
            until_s = away_since_s + (OUTAGE_S if for_s is None else for_s)
            if not is_outage(str(error)) or now_s + pause_s > until_s:
                raise
            if is_news:
                _logger.warning("the storage is away and is waited for: %s", error)
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
