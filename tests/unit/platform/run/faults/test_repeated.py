"""Work that is repeated in a thread of its own."""

import errno
import os
import threading
from collections.abc import Callable

import pytest
from ray.exceptions import RayError

from rml_platform.run.faults import outages
from rml_platform.run.faults import repeated as module
from rml_platform.run.faults.repeated import NoLongerNeeded, check_needed, repeated

AWAY = OSError(errno.ESTALE, os.strerror(errno.ESTALE))


def test_work_is_repeated_over_a_storage_that_is_away_and_ends_with_the_context() -> None:
    calls: list[str] = []
    often = threading.Event()

    def work() -> None:
        calls.append(threading.current_thread().name)
        if len(calls) == 1:
            raise AWAY
        if len(calls) >= 3:
            often.set()

    with repeated(work, 0.001, "look"):
        assert often.wait(60)
    after = len(calls)
    assert set(calls) == {"look"}
    assert "look" not in {thread.name for thread in threading.enumerate()}
    assert len(calls) == after


def flaky(errors: list[Exception], is_through: threading.Event) -> Callable[[], None]:
    """Work that raises one error after the other, and then none."""
    left = iter(errors)

    def work() -> None:
        error = next(left, None)
        if error is not None:
            raise error
        is_through.set()

    return work


def test_no_error_ends_it_and_each_kind_is_told_once() -> None:
    said: list[str] = []
    is_through = threading.Event()
    full = OSError(errno.ENOSPC, "No space left on device")
    errors = [RuntimeError("a"), RayError("b"), RuntimeError("c"), AWAY, full, KeyError("d")]
    with repeated(flaky(errors, is_through), 0.001, "watch", said.append):
        assert is_through.wait(60)
    assert said == [
        "watch: RuntimeError: a; it is tried again",
        "watch: RayError: b; it is tried again",
        "watch: OSError: [Errno 28] No space left on device; it is tried again",
        "watch: KeyError: 'd'; it is tried again",
    ]


def test_without_anybody_to_tell_the_log_has_the_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    is_through = threading.Event()
    with repeated(flaky([RuntimeError("a")], is_through), 0.001, "watch"):
        assert is_through.wait(60)
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.message == "watch: RuntimeError: a; it is tried again"


def test_it_ends_at_once_however_long_its_pause_is() -> None:
    calls: list[int] = []
    with repeated(lambda: calls.append(1), 3600, "look"):
        pass
    assert calls == []


def test_work_that_does_not_come_back_holds_up_no_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outages, "STOPPED_S", 0.05)
    monkeypatch.setattr(module, "A_MOMENT_S", 0.0)
    said: list[str] = []
    is_begun = threading.Event()
    may_end = threading.Event()
    has_ended = threading.Event()

    def work() -> None:
        is_begun.set()
        may_end.wait()
        has_ended.set()
        raise RuntimeError("its Ray is gone")

    with pytest.raises(KeyboardInterrupt), repeated(work, 0.001, "newcomers", said.append):
        assert is_begun.wait(60)
        raise KeyboardInterrupt
    assert not has_ended.is_set()
    (thread,) = (one for one in threading.enumerate() if one.name == "newcomers")
    may_end.set()
    thread.join()
    assert said == [], "nobody waits for it any more"


def test_work_that_waits_for_long_ends_with_its_context() -> None:
    said: list[str] = []
    is_begun = threading.Event()
    ends: list[type[Exception]] = []

    def work() -> None:
        is_begun.set()
        try:
            while True:
                check_needed()
        except NoLongerNeeded as end:
            ends.append(type(end))
            raise

    with repeated(work, 0.001, "newcomers", said.append):
        assert is_begun.wait(60)
    assert (ends, said) == ([NoLongerNeeded], [])
    check_needed()  # in this thread nothing is repeated
