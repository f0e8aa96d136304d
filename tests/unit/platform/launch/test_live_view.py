"""The view of a grid: what is counted, how long it takes, how it looks."""

import errno
import io
import os
from dataclasses import replace
from unittest.mock import Mock

import pytest
from rich.console import Console

from rml_platform.launch.live_view import LiveView, duration, render, seconds_left
from rml_platform.run.faults import outages
from rml_platform.run.run_folder import Failure, RunRecord
from rml_platform.run.task import Process
from tests.support.platform.tasks import beat_of

HERE = Process(host="h", pid=1, started="1")


def running(step: int, seconds: float, **changes: object) -> RunRecord:
    beat = beat_of(
        process=HERE,
        step=step,
        num_steps=100,
        seconds=seconds,
        stage=1,
        num_stages=3,
        loss=0.5,
        miou=0.25,
        **changes,
    )
    return RunRecord(state="running", heartbeat=beat)


FAILED = RunRecord(
    state="failed",
    failure=Failure(
        kind="ValueError", message="two\nlines", traceback="", attempt=1, launch_id="a", time=0.0
    ),
)


def shown(records: dict[str, RunRecord]) -> str:
    console = Console(file=io.StringIO(), width=160)
    console.print(render(records))
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def test_the_view_names_what_moves_and_what_failed() -> None:
    said = shown(
        {
            "a": running(25, 50.0),
            "b": RunRecord(state="new"),
            "c": FAILED,
            "d": RunRecord(state="done"),
        }
    )
    assert "1 done · 1 running · 1 failed · 1 to do" in said
    line = next(line for line in said.splitlines() if line.startswith("a "))
    assert "1/2" in line
    assert "25/100" in line
    assert "0.500" in line
    assert "25.0" in line
    assert line.rstrip().endswith("2 min")
    assert "two" in said
    assert "lines" not in said


def test_a_large_grid_is_cut_to_a_screen() -> None:
    said = shown({f"run-{i}": running(1, 1.0) for i in range(40)})
    assert "… and 28 more" in said
    assert len(said.splitlines()) < 20


def test_time_left_counts_waiting_runs_at_the_pace_of_the_others() -> None:
    records = {
        "a": running(50, 100.0),
        "b": running(50, 100.0),
        "c": RunRecord(state="new"),
        "d": RunRecord(state="new"),
    }
    assert seconds_left(records) == (100 + 100 + 2 * 200) / 2


def test_time_left_is_at_least_that_of_the_slowest_run() -> None:
    assert seconds_left({"a": running(10, 10.0), "b": running(90, 9.0)}) == 90.0


def test_time_left_is_without_the_start_of_a_run() -> None:
    record = running(20, 70.0)
    assert record.heartbeat is not None
    beat = replace(record.heartbeat, start_up_s=60.0, start_up_steps=10)
    records = {"a": replace(record, heartbeat=beat)}
    assert seconds_left(records) == 80
    assert seconds_left(records | {"b": RunRecord(state="new")}) == 80 + 60 + 100


def test_nothing_is_guessed_before_a_run_has_a_pace() -> None:
    assert seconds_left({"a": running(0, 5.0), "b": RunRecord(state="new")}) is None
    assert "left" not in shown({"a": RunRecord(state="new")})


@pytest.mark.parametrize(
    ("seconds", "text"), [(12.3, "12 s"), (89, "89 s"), (600, "10 min"), (7200, "2.0 h")]
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_last_look_waits_for_a_storage_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a launch says at its end is what came of its runs."""
    monkeypatch.setattr(outages, "FIRST_PAUSE_S", 0.0)
    away = OSError(errno.ESTALE, os.strerror(errno.ESTALE))
    run = Mock(run_id="a", record=Mock(side_effect=[away, running(25, 50.0)]))
    console = Console(file=io.StringIO(), width=160)
    with LiveView([run], Mock(), console, "launch-1"):
        pass
    assert run.record.call_count == 2


def test_a_stop_stays_a_stop_while_the_storage_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outages, "STOPPED_S", 0.0)
    away = OSError(errno.ESTALE, os.strerror(errno.ESTALE))
    run = Mock(run_id="a", record=Mock(side_effect=away))
    console = Console(file=io.StringIO(), width=160)
    with pytest.raises(KeyboardInterrupt), LiveView([run], Mock(), console, "launch-1"):
        raise KeyboardInterrupt
