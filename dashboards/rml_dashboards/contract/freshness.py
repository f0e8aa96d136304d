"""When the size and the time of a file tell that nothing has changed.

Whoever reads a file again only when its size or time is another one misses a change that came
within the grain of the store's clock: an object store's listing counts in whole seconds.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

T = TypeVar("T")
SETTLED_NS = 2_000_000_000
"""A file, or folder, that changed less than so long before it was read is read once more. More
than the coarsest grain (1 s), for clocks of machines that do not quite agree."""


def have_settled(changed_ns: Iterable[int | None], read_ns: int | None = None) -> bool:
    """Whether any later change of these files will show in their times.

    Args:
        changed_ns: the Unix times of their last changes; None where the store does not tell, which
            leaves nothing to wait for.
        read_ns: when they were looked at, before they were read; default: now.
    """
    now_ns = time.time_ns() if read_ns is None else read_ns
    return all(now_ns - known > SETTLED_NS for known in changed_ns if known is not None)


class ReadFiles:
    """What files said, each read again only where it may be another one than when it was read."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[tuple[int | None, int | None] | None, Any]] = {}

    def content(
        self, name: str, size: int | None, changed_ns: int | None, read: Callable[[], T]
    ) -> T:
        """What a file says now. What `read` raises is passed on, and the file is read next time.

        Args:
            size: in bytes; None, as `changed_ns`, where there is no such file.
            changed_ns: see `have_settled`.
            read: reads it; of one name it always gives the same kind of value.
        """
        now = (size, changed_ns)
        if name not in self._known or self._known[name][0] != now:
            stamp = now if have_settled((changed_ns,)) else None  # as it was before the reading
            self._known[name] = (stamp, read())
        found: T = self._known[name][1]
        return found
