"""The end of a launch, whose steps are all taken."""

import errno
import os
from collections.abc import Callable

import pytest

from rml_platform.run.faults import outages
from rml_platform.run.faults.ending import Ending

RUNS = [f"run-{number}" for number in range(50)]
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
AWAY = OSError(errno.ESTALE, os.strerror(errno.ESTALE))


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outages, "FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr(outages, "STOPPED_S", 0.05)


def failing(run_ids: list[str], error: OSError, times: int = 1) -> Callable[[str], str]:
    """A step that fails for some runs, so many times for each."""
    left = dict.fromkeys(run_ids, times)

    def step(run_id: str) -> str:
        if left.get(run_id, 0) > 0:
            left[run_id] -= 1
            raise error
        return run_id.upper()

    return step


@pytest.mark.parametrize("at_once", [1, 8])
def test_a_run_that_cannot_be_closed_holds_up_no_other(at_once: int) -> None:
    ending = Ending(at_once)
    found = ending.of_each(failing(["run-0", "run-7"], FULL), RUNS)
    rest = [run_id for run_id in RUNS if run_id not in ("run-0", "run-7")]
    assert list(found.items()) == [(run_id, run_id.upper()) for run_id in rest]
    assert ending.error is FULL
    assert ending.do(lambda: 7) == 7
    other = OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
    assert ending.do(lambda: failing(["run-1"], other)("run-1")) is None
    assert ending.error is FULL, "the first is the one to be told"


@pytest.mark.parametrize("at_once", [1, 8])
def test_a_storage_that_is_away_is_waited_for_and_nothing_is_done_twice(at_once: int) -> None:
    done: list[str] = []
    step = failing(RUNS[3:30], AWAY, times=2)

    def noted(run_id: str) -> str:
        found = step(run_id)
        done.append(run_id)
        return found

    ending = Ending(at_once)
    assert list(ending.of_each(noted, RUNS)) == RUNS
    assert sorted(done) == sorted(RUNS)
    assert ending.error is None


@pytest.mark.parametrize("at_once", [1, 8])
def test_a_stop_ends_while_the_storage_stays_away(at_once: int) -> None:
    ending = Ending(at_once)
    asked: list[str] = []

    def away(run_id: str) -> None:
        asked.append(run_id)
        raise AWAY

    with pytest.raises(KeyboardInterrupt):
        try:
            raise KeyboardInterrupt
        finally:
            assert ending.of_each(away, RUNS) == {}
            asked.clear()
            assert ending.of_each(away, RUNS) == {}
            assert len(asked) <= at_once, "one answer is enough to know it"
    assert ending.error is AWAY
