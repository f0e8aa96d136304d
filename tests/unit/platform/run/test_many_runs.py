"""How many runs stand: what a run's own folder says, with one listing for each run that is
there."""

from collections import Counter
from pathlib import Path

import pytest
from pyarrow import fs

from rml_platform.run.many_runs import records_of
from rml_platform.run.run_folder import Failure, RunFolder
from rml_platform.run.storage import Folder
from rml_platform.run.task import Process
from tests.support.platform.tasks import beat_of

GONE = Process(host="elsewhere", pid=1, started="0")
BEAT = beat_of(process=GONE, step=3)
FAILURE = Failure(kind="Bad", message="m", traceback="", attempt=1, launch_id="l", time=0.0)
IDS = ("a-running", "b-failed", "c-new", "d-old", "e-damaged")
Requests = Counter[tuple[str, str]]


@pytest.fixture(params=["local", "remote"])
def storage(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A local storage, or one that pretends not to be (the same code path as an object store)."""
    runs = {run_id: RunFolder.of(str(tmp_path), run_id) for run_id in (*IDS, "other study")}
    for run_id in ("a-running", "b-failed", "d-old", "other study"):
        runs[run_id].write_heartbeat(BEAT)
    runs["b-failed"].write_failure(FAILURE)
    runs["e-damaged"].folder.write("result.json", b"{")
    if request.param == "remote":
        root = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
        monkeypatch.setattr(Folder, "open", classmethod(lambda cls, _: cls(root, "")))
    return str(tmp_path)


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Requests:
    """What is asked of the storage: kind of request and folder."""
    counted: Requests = Counter()
    list_folder = Folder._names
    read = Folder.read

    def counting_list(self: Folder, kind: object) -> list[str]:
        counted["list", self.name] += 1
        return list_folder(self, kind)

    def counting_read(self: Folder, name: str) -> bytes | None:
        counted["read", f"{self.name}/{name}"] += 1
        return read(self, name)

    monkeypatch.setattr(Folder, "_names", counting_list)
    monkeypatch.setattr(Folder, "read", counting_read)
    return counted


def test_every_run_is_told_as_its_folder_tells_it(storage: str) -> None:
    now = RunFolder(Folder.open(storage).child("runs", "d-old")).heartbeat()
    assert now is not None
    found = records_of(storage, (*IDS, *IDS), now=now.time)
    assert tuple(found) == IDS
    expected = ("running", "failed", "new", "running", "new")
    assert tuple(record.state for record in found.values()) == expected
    for run_id, record in found.items():
        folder = RunFolder(Folder.open(storage).child("runs", run_id))
        assert record == folder.record(now=now.time)
    assert "result.json is damaged" in found["e-damaged"].damaged[0]
    later = records_of(storage, IDS, now=now.time + 3600)
    assert later["d-old"].state == "cut_off"


def test_a_run_takes_one_listing_and_only_what_is_there_is_read(
    storage: str, requests: Requests
) -> None:
    records_of(storage, IDS)
    begun = ("a-running", "b-failed", "d-old", "e-damaged")
    files = {
        "a-running/heartbeat.json",
        "b-failed/heartbeat.json",
        "b-failed/failure.json",
        "d-old/heartbeat.json",
        "e-damaged/result.json",
    }
    lists = {("list", name): 1 for name in ("runs", *begun)}
    assert requests == lists | {("read", name): 1 for name in files}


def test_a_storage_without_runs(tmp_path: Path) -> None:
    found = records_of(str(tmp_path / "nothing"), IDS)
    assert {record.state for record in found.values()} == {"new"}
    assert records_of(str(tmp_path), ()) == {}
