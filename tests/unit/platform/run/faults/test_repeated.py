"""Work that is repeated in a thread of its own."""

import threading
from collections.abc import Callable

import pytest
from ray.exceptions import RayError

from rml_platform.run.faults.repeated import repeated


def test_work_is_repeated_over_a_storage_that_is_away_and_ends_with_the_context() -> None:
    calls: list[str] = []
    often = threading.Event()

    def work() -> None:
        calls.append(threading.current_thread().name)
        if len(calls) == 1:
            raise OSError("the storage is away")
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
    errors = [RuntimeError("a"), RayError("b"), RuntimeError("c"), OSError("away"), KeyError("d")]
    with repeated(flaky(errors, is_through), 0.001, "watch", said.append):
        assert is_through.wait(60)
    assert said == [
        "watch: RuntimeError: a; it is tried again",
        "watch: RayError: b; it is tried again",
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
