"""Work that is repeated in a thread of its own."""

import threading

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


def test_it_ends_at_once_however_long_its_pause_is() -> None:
    calls: list[int] = []
    with repeated(lambda: calls.append(1), 3600, "look"):
        pass
    assert calls == []
