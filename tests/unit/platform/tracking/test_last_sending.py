"""What is sent when a launch is over: before all else, and soon where somebody has stopped it."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import pytest

from rml_platform.run.faults import outages
from rml_platform.run.run_folder import RunFolder
from rml_platform.tracking import publisher as module
from rml_platform.tracking.publisher import Publisher, sync_at_the_end


def test_who_closes_goes_before_what_is_sent_meanwhile(tmp_path: Path) -> None:
    runs = [RunFolder.of(str(tmp_path), f"run-{number}") for number in range(5)]
    sent: list[tuple[str, bool]] = []
    is_begun = threading.Event()
    may_go_on = threading.Event()

    def publish(run: RunFolder, study: str, *, closing: bool, **rest: object) -> None:
        sent.append((run.run_id, closing))
        is_begun.set()
        if not closing:
            assert may_go_on.wait(60)

    publisher = Publisher(Mock(publish=publish), "study", pytest.fail)
    behind: list[str] = []
    with ThreadPoolExecutor() as pool:
        meanwhile = pool.submit(publisher.sync, runs)
        assert is_begun.wait(60)
        last = pool.submit(publisher.sync, runs[3:], closing=True)
        assert publisher._is_closing.wait(60)
        may_go_on.set()
        behind = meanwhile.result()
        assert last.result() == []
    assert sent == [("run-0", False), ("run-3", True), ("run-4", True)]
    assert behind == ["run-1", "run-2", "run-3", "run-4"]
    assert publisher.sync(runs[:1]) == [], "a launch may go on after it has closed some runs"


@pytest.mark.parametrize("is_stopped", [False, True])
def test_the_last_sending_of_a_stopped_launch_waits_for_no_tracker_that_is_silent(
    tmp_path: Path, is_stopped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outages, "STOPPED_S", 0.05)
    monkeypatch.setattr(module, "A_MOMENT_S", 0.0)
    run = RunFolder.of(str(tmp_path), "run-1")
    said: list[str] = []
    answers = threading.Event()
    publisher = Mock(sync=lambda runs, closing: answers.wait(60) and [])
    try:
        if is_stopped:
            raise KeyboardInterrupt
        answers.set()
        assert sync_at_the_end(publisher, [run], said.append) == []
        assert said == []
    except KeyboardInterrupt:
        assert sync_at_the_end(publisher, [run], said.append) == ["run-1"]
        assert len(said) == 1 and "rml tracking sync" in said[0]
        answers.set()
        failing = Mock(sync=Mock(side_effect=ZeroDivisionError))
        with pytest.raises(ZeroDivisionError):
            monkeypatch.setattr(module, "A_MOMENT_S", 60.0)
            sync_at_the_end(failing, [run], said.append)
