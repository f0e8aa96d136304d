"""The end of a launch: every step of it is taken, whatever became of those before."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from rml_platform.run.faults.outages import is_outage, until_it_answers

T = TypeVar("T")


class Ending:
    """Takes steps, and keeps the first error of the storage for the time when all are taken. One
    that is away is waited for as `until_it_answers` does."""

    def __init__(self, at_once: int) -> None:
        """`at_once`: how many runs a step is taken for at the same time."""
        self.error: OSError | None = None
        self._at_once = at_once

    def do(self, step: Callable[[], T]) -> T | None:
        """Take a step; None where the storage did not let it."""
        try:
            return until_it_answers(step)
        except OSError as error:
            self._keep(error)
            return None

    def of_each(self, step: Callable[[str], T], run_ids: Iterable[str]) -> dict[str, T]:
        """Take a step for each of many runs, `at_once` in threads; the results of those for which
        the storage let it, in the order of the runs."""
        run_ids = tuple(run_ids)
        found = dict[str, T]()
        left = list(run_ids)

        def try_all() -> None:
            nonlocal left
            failed = self._tried(step, left, found)
            left = [run_id for run_id in left if is_outage(str(failed.get(run_id, "")))]
            for error in failed.values():
                if not is_outage(str(error)):
                    self._keep(error)
            for run_id in left:
                raise failed[run_id]

        self.do(try_all)
        return {run_id: found[run_id] for run_id in run_ids if run_id in found}

    def _tried(
        self, step: Callable[[str], T], run_ids: Iterable[str], found: dict[str, T]
    ) -> dict[str, OSError]:
        """Try a step once for each run; the errors by run. What comes after an outage is not tried:
        every request may take long to fail."""
        failed = dict[str, OSError]()
        outage = list[OSError]()
        lock = threading.Lock()

        def one(run_id: str) -> None:
            if outage:
                failed[run_id] = outage[0]
                return
            try:
                result = step(run_id)
            except OSError as error:
                with lock:
                    failed[run_id] = error
                    if is_outage(str(error)):
                        outage.append(error)
            else:
                with lock:
                    found[run_id] = result

        if self._at_once == 1:
            for run_id in run_ids:
                one(run_id)
        else:
            with ThreadPoolExecutor(self._at_once) as pool:
                list(pool.map(one, run_ids))
        return failed

    def _keep(self, error: OSError) -> None:
        self.error = self.error or error
