"""The sign of life of a launch, `launches/<launch id>.json`: for launches on other machines, which
cannot look for its process.

The file's content changes every `RENEW_EVERY_S`. Who waits for a launch to end compares contents by
its own clock, so clocks that differ do no harm: a launch is dead when nothing changed for
`DEAD_AFTER_S` of watching. Between two looks at most `LONGEST_GAP_S` count as watched: while the
storage was away nobody could renew a sign of life, and nobody could look.
"""

import contextlib
import itertools
import time
from collections.abc import Iterator
from typing import NamedTuple

from rml_dashboards.contract.launches import LAUNCHES as LAUNCHES
from rml_dashboards.contract.states import STALE_AFTER_S
from rml_platform.run.faults.claims import Claim
from rml_platform.run.faults.repeated import repeated
from rml_platform.run.storage import Folder
from rml_platform.run.task import Process

RENEW_EVERY_S = 15.0
DEAD_AFTER_S = STALE_AFTER_S
LONGEST_GAP_S = 2 * RENEW_EVERY_S
ORPHANS_LEAVE_S = 30.0
"""How long the workers of a killed launcher may take to follow it; what stays is fenced."""


@contextlib.contextmanager
def lease(storage: str, launch_id: str, every_s: float = RENEW_EVERY_S) -> Iterator[None]:
    """Renew the sign of life of a launch while the context is open."""
    folder = Folder.open(storage).child(LAUNCHES)
    name = f"{launch_id}.json"
    counts = itertools.count(1)

    def renew() -> None:
        folder.write(name, b"%d" % next(counts))

    renew()
    try:
        with repeated(renew, every_s, "lease"):
            yield
    finally:
        with contextlib.suppress(OSError):  # what is left says that the launch is dead
            folder.delete(name)


class _Sign(NamedTuple):
    """A sign of life as it was seen last."""

    content: bytes | None
    watched_s: float
    """For how long it has been watched without a change."""
    looked_at: float
    is_renewed: bool
    """Whether it was seen to change."""


class Watchman:
    """Knows which holders of claims are dead."""

    def __init__(self, storage: str) -> None:
        self._folder = Folder.open(storage).child(LAUNCHES)
        self._seen = dict[str, _Sign]()
        """By launch."""
        self._orphans = dict[Process, _Sign]()
        """Workers that outlive their launcher."""

    def is_free(self, claim: Claim | None) -> bool:
        """Whether nobody is behind a claim any more.

        On this machine a living process is alive, whatever it last wrote, and one that is gone is
        dead at once; a worker that outlives its launcher is waited for. Of another machine's
        nothing is known but the sign of life of its launch.
        """
        if claim is None or claim.is_given_back:
            return True
        launcher_gone = claim.launcher.is_gone()
        if launcher_gone is None:
            launcher_gone = self._has_expired(claim.launch_id)
        return launcher_gone and (claim.worker is None or not self._stays(claim.worker))

    def is_at_work(self, claim: Claim) -> bool:
        """Whether the launch behind a claim that is not free is known to live: by its process on
        this machine, elsewhere by a sign of life that was renewed since this was first asked."""
        launcher_gone = claim.launcher.is_gone()
        if launcher_gone is None:
            sign = self._seen.get(claim.launch_id)
            return sign is not None and sign.is_renewed
        return not launcher_gone

    def _stays(self, worker: Process) -> bool:
        """Whether a worker without launcher still lives on this machine, and may yet leave."""
        if worker.is_gone() is not False:
            return False
        # One gap alone, in which this process stood still perhaps, and the worker too, is no wait.
        sign = _looked(self._orphans.get(worker), None, ORPHANS_LEAVE_S / 4)
        self._orphans[worker] = sign
        return sign.watched_s < ORPHANS_LEAVE_S

    def _has_expired(self, launch_id: str) -> bool:
        content = self._folder.read(f"{launch_id}.json")
        sign = _looked(self._seen.get(launch_id), content, LONGEST_GAP_S)
        self._seen[launch_id] = sign
        return sign.watched_s >= DEAD_AFTER_S


def _looked(before: _Sign | None, content: bytes | None, longest_gap_s: float) -> _Sign:
    """What is known after another look."""
    now = time.monotonic()
    if before is None:
        return _Sign(content, watched_s=0.0, looked_at=now, is_renewed=False)
    if before.content != content:
        is_renewed = content is not None or before.is_renewed
        return _Sign(content, watched_s=0.0, looked_at=now, is_renewed=is_renewed)
    watched_s = before.watched_s + min(now - before.looked_at, longest_gap_s)
    return _Sign(content, watched_s, now, before.is_renewed)
