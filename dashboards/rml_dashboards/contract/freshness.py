"""When the size and the time of a file tell that nothing has changed.

Whoever reads a file again only when its size or time is another one misses a change that came
within the grain of the store's clock: an object store's listing counts in whole seconds.
"""

import time
from collections.abc import Iterable

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


class SeenFiles:
    """The sizes and times that files had when they were last asked about."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int | None, int | None] | None] = {}

    def may_differ(self, name: str, size: int | None, changed_ns: int | None) -> bool:
        """Whether a file may be another one than when this was last asked, and is to be read.

        Args:
            size: in bytes; None, as `changed_ns`, where there is no such file.
            changed_ns: see `have_settled`.
        """
        now = (size, changed_ns)
        is_same = name in self._seen and self._seen[name] == now
        self._seen[name] = now if have_settled((changed_ns,)) else None
        return not is_same
