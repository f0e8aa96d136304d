"""A storage that is away is told from what would be wrong again, and waited for."""

import errno
import math
import os
import socket
from pathlib import Path

import pytest

from rml_platform.run.attempt import WorkerContext
from rml_platform.run.execute import execute
from rml_platform.run.faults import outages
from rml_platform.run.faults.outages import is_outage, through_outages, until_it_answers
from rml_platform.run.faults.retry_policy import FailureClass, classify
from rml_platform.run.metric_log import pieces
from rml_platform.run.run_folder import RunFolder
from rml_platform.run.storage import Folder
from rml_trainers.data.prepared.cache import PreparedData
from tests.support.platform.fake_trainer import GOOD, FakeTrainer
from tests.support.platform.object_store import CREDENTIALS, storage_uri
from tests.support.platform.tasks import NUM_STEPS, fake_config, task_for


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outages, "FIRST_PAUSE_S", 0.0)


@pytest.mark.parametrize(
    "number", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ECONNREFUSED, errno.ENOTCONN]
)
def test_the_system_tells_an_outage(number: int) -> None:
    error = OSError(number, os.strerror(number))
    assert is_outage(str(error))
    assert classify((type(error).__name__,), str(error)) is FailureClass.STORAGE


@pytest.mark.parametrize(
    "text",
    [
        "When uploading part for key 'a' in bucket 'b': AWS Error NETWORK_CONNECTION during "
        "UploadPart operation: curlCode: 7, Couldn't connect to server",
        "When testing for existence of bucket 'b': AWS Error UNKNOWN (HTTP status 503) during "
        "HeadBucket operation: No response body.",
        "google::cloud::Status(UNAVAILABLE: Permanent error in WriteObject: try again)",
    ],
)
def test_object_stores_tell_an_outage(text: str) -> None:
    assert is_outage(text)
    assert classify(("OSError",), text) is FailureClass.STORAGE
    assert classify((), f"RayTaskError(OSError): ray::f()\n  file.py\nOSError: {text}") is (
        FailureClass.STORAGE
    )
    saving = f"cannot save the checkpoint of step 3 to b/runs: {text}. The one before it is intact"
    assert classify(("CheckpointError",), saving) is FailureClass.STORAGE


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), FailureClass.DISK_FULL),
        (OSError(errno.EFBIG, os.strerror(errno.EFBIG)), FailureClass.DISK_FULL),
        (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)), FailureClass.DISK_FULL),
        (OSError(errno.EACCES, os.strerror(errno.EACCES)), FailureClass.CODE),
        (OSError(errno.ENOENT, os.strerror(errno.ENOENT)), FailureClass.CODE),
        (OSError(errno.EROFS, os.strerror(errno.EROFS)), FailureClass.CODE),
        (OSError("libmine.so: cannot open shared object file"), FailureClass.CODE),
        (
            OSError("AWS Error ACCESS_DENIED during PutObject operation: Access Denied"),
            FailureClass.CODE,
        ),
        (
            OSError("AWS Error UNKNOWN (HTTP status 400) during HeadObject operation: expired"),
            FailureClass.CODE,
        ),
        (RuntimeError("[gloo] Connection timed out"), FailureClass.COMMUNICATION),
        (ValueError("the step timed out"), FailureClass.CODE),
    ],
)
def test_what_would_be_wrong_again_is_none(error: Exception, kind: FailureClass) -> None:
    assert classify((type(error).__name__,), str(error)) is kind


def test_a_store_that_nobody_serves_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with socket.socket() as unserved:
        unserved.bind(("127.0.0.1", 0))
        host, port = unserved.getsockname()
        folder = Folder.open(storage_uri(host, port, "bucket"))
        with pytest.raises(OSError) as caught:
            folder.read("file")
    assert is_outage(str(caught.value)), caught.value


def test_it_is_waited_for_and_that_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[int] = []

    def work() -> int:
        calls.append(1)
        if len(calls) < 4:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return len(calls)

    assert through_outages(work) == 4
    assert [record.message.split(":")[0] for record in caplog.records] == [
        "the storage is away and is waited for"
    ]


def test_nothing_else_is_waited_for() -> None:
    calls: list[int] = []

    def work() -> None:
        calls.append(1)
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with pytest.raises(PermissionError):
        through_outages(work)
    assert len(calls) == 1


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Now, which goes on by sleeping."""
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(outages, "FIRST_PAUSE_S", 1.0)
    monkeypatch.setattr("rml_platform.run.faults.outages.time.monotonic", lambda: now[0])
    monkeypatch.setattr("rml_platform.run.faults.outages.time.sleep", sleep)
    return now


def always_away() -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_the_patience_has_an_end(clock: list[float]) -> None:
    with pytest.raises(OSError, match="Input/output error"):
        through_outages(always_away, for_s=100)
    assert 100 - outages.LONGEST_PAUSE_S < clock[0] <= 100


def test_what_went_well_for_long_before_it_is_waited_for_as_well(clock: list[float]) -> None:
    tries: list[float] = []

    def upload() -> None:
        tries.append(clock[0])
        if len(tries) == 1:
            clock[0] += 10 * outages.OUTAGE_S
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    through_outages(upload)
    assert len(tries) == 2


def test_a_launch_that_was_stopped_does_not_wait_without_end(clock: list[float]) -> None:
    with pytest.raises(OSError, match="Input/output error"):
        try:
            raise KeyboardInterrupt
        finally:
            until_it_answers(always_away)
    assert clock[0] <= outages.STOPPED_S


def test_all_waits_of_a_stop_together_have_one_end(clock: list[float]) -> None:
    failed: list[OSError] = []
    with pytest.raises(KeyboardInterrupt):
        try:
            raise KeyboardInterrupt
        finally:
            for _ in range(5):
                try_again(failed)
    assert len(failed) == 5
    assert clock[0] <= outages.STOPPED_S
    with pytest.raises(KeyboardInterrupt):
        try:
            raise KeyboardInterrupt
        finally:
            assert outages.patience_s() == outages.STOPPED_S, "another stop"
    assert outages.patience_s() == math.inf


def try_again(failed: list[OSError]) -> None:
    try:
        until_it_answers(always_away)
    except OSError as error:
        failed.append(error)


@pytest.mark.parametrize("first", [1, 3, 5, 7, 9, 11])
def test_a_run_outlasts_an_outage_and_tells_every_value_once(
    tiny_data: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    count = 0
    write = Folder.write

    def flaky(self: Folder, name: str, content: bytes) -> None:
        nonlocal count
        count += 1
        if first <= count < first + 3:
            raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        write(self, name, content)

    task = task_for(fake_config(GOOD), tiny_data, tmp_path, "run-1")
    monkeypatch.setattr(Folder, "write", flaky)
    assert execute(task, WorkerContext(writer=task.launch_id), FakeTrainer) == "done"
    run = RunFolder.of(task.storage, task.run_id)
    found = pieces(run.folder, -1, float("inf"), pytest.fail)
    losses = [row.step for _, rows in found for row in rows if row.key == "train/loss"]
    assert losses == list(range(1, NUM_STEPS + 1))
    assert run.record().state == "done"
    assert count > first
