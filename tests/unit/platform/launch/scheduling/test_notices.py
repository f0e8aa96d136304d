"""Who is told what, by a web server of this test; a URL that fails stops nothing and betrays
nothing."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from rml_platform.launch.outcomes import LaunchReport
from rml_platform.launch.scheduling.notices import (
    GOODBYE_S,
    Notifier,
    Standstill,
    check_urls,
    end_without_result,
    notifying,
    tell_failure,
)
from rml_platform.run.faults.outages import STOPPED_S
from rml_platform.run.faults.repeated import A_MOMENT_S
from rml_platform.run.run_folder import Failure, RunFolder, RunRecord
from rml_trainers.errors import ConfigError
from tests.support.platform.tasks import beat_of

SECRET = "T000-B000-XXXX"


class Listener:
    """A web server that keeps what it is sent."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                body = json.loads(self.rfile.read(length))
                assert self.headers["Content-Type"] == "application/json"
                listener.heard.append(body)
                self.send_response(500 if self.path.startswith("/fails") else 200)
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def url(self, path: str = "hook") -> str:
        return f"http://127.0.0.1:{self._server.server_port}/{path}/{SECRET}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.close()


def failure(kind: str, message: str = "loss is nan\nat step 3") -> RunRecord:
    found = Failure(
        kind=kind, message=message, traceback="", attempt=1, launch_id="launch-1", time=0
    )
    return RunRecord(state="failed", failure=found)


def test_an_end_is_told_to_everybody_with_text_for_slack_and_keys_for_programs(
    listener: Listener,
) -> None:
    report = LaunchReport(done=["a", "b"], done_before=["c"], left=["d"])
    urls = [listener.url(), listener.url("other")]
    with notifying(urls, "launch-1", pytest.fail, {"table4": "abcd"}, report):
        pass
    assert len(listener.heard) == 2
    (first, _) = listener.heard
    assert first["text"] == "rml: table4 ended: 3 done, 1 left"
    assert (first["event"], first["study"], first["launch_id"]) == (
        "study_ended",
        "table4",
        "launch-1",
    )
    assert first["counts"] == {"done": 3, "failed": 0, "left": 1, "running_elsewhere": 0}


def test_a_study_is_told_when_it_is_over_and_once(listener: Listener) -> None:
    studies = {"a": ["a1", "both"], "b": ["both", "b1"], "c": ["c1", "c2", "c3"], "d": ["d1"]}
    report = LaunchReport(done_before=["both"])
    with (
        pytest.raises(KeyboardInterrupt),
        notifying([listener.url()], "launch-1", pytest.fail, studies, report) as ends,
    ):
        ends.look()
        ends.note("a1", "failed")
        ends.look()
        ends.note("c1", "done")
        ends.note("c2", "left")
        ends.look()
        ends.look(lambda run_id: run_id != "c3")
        report.failed["a1"] = Failure(
            kind="OSError", message="", traceback="", attempt=1, launch_id="launch-1", time=0
        )
        report.done.append("c1")
        report.running_elsewhere.append("d1")
        raise KeyboardInterrupt
    assert [notice["text"] for notice in listener.heard] == [
        "rml: a ended: 1 done, 1 failed",
        "rml: c ended: 1 done, 2 left",
        "rml: b was stopped: 1 done, 1 left",
        "rml: d was stopped: 1 running elsewhere",
    ]


@pytest.mark.parametrize(
    ("error", "left_s", "most_s"),
    [
        (None, None, GOODBYE_S),
        (RuntimeError(), None, GOODBYE_S),
        (KeyboardInterrupt(), None, STOPPED_S),
        (KeyboardInterrupt(), 3.0, 3.0),
        (KeyboardInterrupt(), -1.0, A_MOMENT_S),
    ],
    ids=["whole", "broken", "stopped", "stopped a while ago", "stopped long ago"],
)
def test_a_launch_that_was_stopped_waits_no_longer_for_its_notices_than_for_all_else(
    error: BaseException | None,
    left_s: float | None,
    most_s: float,
    listener: Listener,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits = list[float]()
    join = threading.Thread.join

    def noted(thread: threading.Thread, timeout: float | None = None) -> None:
        if thread.name == "notices" and timeout is not None:
            waits.append(timeout)
        join(thread, timeout)

    monkeypatch.setattr(threading.Thread, "join", noted)
    if error is not None and left_s is not None:
        vars(error)["rml_waits_until_s"] = time.monotonic() + left_s
    with (
        contextlib.suppress(RuntimeError, KeyboardInterrupt),
        notifying([listener.url()], "launch-1", pytest.fail, {}, LaunchReport()),
    ):
        if error is not None:
            raise error
    (waited_s,) = waits
    assert A_MOMENT_S <= waited_s <= most_s


def test_what_somebody_stopped_is_left_and_what_died_has_failed() -> None:
    assert end_without_result(failure("Cancelled"), "launch-1") == "left"
    assert end_without_result(failure("NonFiniteLossError"), "launch-1") == "failed"
    assert end_without_result(RunRecord(state="cut_off"), "launch-1") == "failed"
    assert end_without_result(failure("Cancelled"), "launch-2") == "failed", "not of this launch"


def test_a_failure_is_told_in_one_line_and_a_cancelled_run_is_none(listener: Listener) -> None:
    secret = "no bucket at s3://key:hush@host/b"
    with Notifier([listener.url()], "launch-1", pytest.fail) as notifier:
        tell_failure(notifier, "run-1", failure("NonFiniteLossError"), "launch-1")
        tell_failure(notifier, "run-2", failure("Cancelled"), "launch-1")
        tell_failure(notifier, "run-3", RunRecord(state="cut_off"), "launch-1")
        tell_failure(notifier, "run-4", failure("OSError", secret), "launch-1")
    assert [notice["text"] for notice in listener.heard] == [
        "rml: run-1 failed: NonFiniteLossError: loss is nan",
        "rml: run-3 failed: it was lost before it could say why",
        "rml: run-4 failed: OSError: no bucket at s3://key:***@host/b",
    ]


@pytest.mark.parametrize("kind", ["NonFiniteLossError", "Cancelled"])
def test_what_an_earlier_launch_wrote_down_tells_nothing_of_this_one(
    kind: str, listener: Listener
) -> None:
    with Notifier([listener.url()], "launch-2", pytest.fail) as notifier:
        tell_failure(notifier, "run-1", failure(kind), "launch-2")
    (notice,) = listener.heard
    assert notice["text"] == "rml: run-1 failed: it was lost before it could say why"
    assert "kind" not in notice


def test_a_url_that_fails_is_told_once_without_its_secret(listener: Listener) -> None:
    notes: list[str] = []
    urls = [listener.url("fails"), f"http://127.0.0.1:9/{SECRET}", listener.url()]
    with Notifier(urls, "launch-1", notes.append) as notifier:
        for _ in range(2):
            notifier.tell("nothing_moves", "still")
    assert len(listener.heard) == 4, "every notice goes to whoever can be reached"
    assert notes == [
        "--notify: 127.0.0.1 could not be told (it answered 500); the launch goes on",
        "--notify: 127.0.0.1 could not be told (ConnectionError); the launch goes on",
    ]


@pytest.mark.parametrize("url", ["hooks.slack.com/services/x", "file:///etc/passwd", "http://"])
def test_what_is_no_web_address_is_refused_before_anything_starts(url: str) -> None:
    with pytest.raises(ConfigError, match="expected addresses that begin with http"):
        check_urls([url])


def test_a_standstill_is_told_once_each_time(listener: Listener, tmp_path: Path) -> None:
    now = [0.0]
    folder = RunFolder.of(str(tmp_path), "run-1")

    def beat(step: int) -> None:
        folder.write_heartbeat(beat_of(step=step))

    with Notifier([listener.url()], "launch-1", pytest.fail) as notifier:
        standstill = Standstill(notifier, [folder], clock=lambda: now[0])
        beat(1)
        for minutes, step in ((0, 1), (59, 1), (61, 1), (90, 1), (100, 2), (159, 2), (161, 2)):
            now[0] = 60.0 * minutes
            beat(step)
            standstill.look()
    assert [notice["text"] for notice in listener.heard] == [
        "rml: nothing has moved for 61 min (1 runs under way)",
        "rml: nothing has moved for 61 min (1 runs under way)",
    ]
    assert listener.heard[0]["runs"] == ["run-1"]


def test_a_storage_that_is_away_is_a_standstill(
    listener: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    folder = RunFolder.of(str(tmp_path), "run-1")
    folder.write_heartbeat(beat_of(step=1))

    def away(_: RunFolder) -> RunRecord:
        raise OSError("When reading s3://key:hush@host/b: AWS Error NETWORK_CONNECTION")

    with Notifier([listener.url()], "launch-1", pytest.fail) as notifier:
        standstill = Standstill(notifier, [folder], clock=lambda: now[0])
        standstill.look()
        monkeypatch.setattr(RunFolder, "record", away)
        for minutes in (30, 61, 90):
            now[0] = 60.0 * minutes
            standstill.look()
    assert [notice["text"] for notice in listener.heard] == [
        "rml: nothing has moved for 61 min (1 runs under way); the storage cannot be read: "
        "When reading s3://key:***@host/b: AWS Error NETWORK_CONNECTION"
    ]
