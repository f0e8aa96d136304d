"""Which runs another launch may be at: their records are read again in turn, a few at each look,
however many there are."""

import itertools
import time
from collections.abc import Collection, Iterable, Iterator

from rml_platform.run.run_folder import RunRecord

AT_A_LOOK = 16
"""Most records of a kind that one look reads."""
SECONDS_OF_A_LOOK = 0.1
"""After which it reads no more of a kind than one: a storage that is far away takes long for
each."""


class Elsewhere:
    """The runs that are not done and that this launch does not have."""

    def __init__(self, counted: Collection[str]) -> None:
        """`counted`: ids of those that count whoever trains them. They are looked at also while
        nobody is known to be at them: another launch may start them at any time."""
        self._counted = counted
        self._own = set[str]()
        self._running = dict[str, None]()
        self._resting = dict[str, None]()

    def take(self, run_ids: Iterable[str]) -> None:
        """Runs are this launch's from here on, and nobody else's."""
        self._own.update(run_ids)

    def give_back(self, run_id: str) -> None:
        """Anybody may take a run."""
        self._own.discard(run_id)

    def has(self, run_id: str) -> bool:
        """Whether this launch does not have a run."""
        return run_id not in self._own

    def note(self, run_id: str, record: RunRecord) -> None:
        """Where a run stands by now."""
        is_open = self.has(run_id) and record.result is None
        is_running = record.state == "running"
        _put(self._running, run_id, is_open and is_running)
        _put(self._resting, run_id, is_open and not is_running and run_id in self._counted)

    def in_turn(self, without: Collection[str]) -> Iterator[str]:
        """Ids of those whose turn it is to be read, those that run first; each is noted by who
        reads it."""
        until = time.monotonic() + SECONDS_OF_A_LOOK
        for runs in (self._running, self._resting):
            for run_id in list(itertools.islice(runs, AT_A_LOOK)):
                del runs[run_id]
                runs[run_id] = None  # the last one now
                if run_id not in without:
                    yield run_id
                    if time.monotonic() > until:
                        break


def _put(runs: dict[str, None], run_id: str, is_in: bool) -> None:
    if is_in:
        runs.setdefault(run_id)
    else:
        runs.pop(run_id, None)
