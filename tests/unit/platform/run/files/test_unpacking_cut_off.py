"""Unpacking that cannot write, is stopped or killed: no run is left that only looks begun."""

import errno
import os
from pathlib import Path

import pytest

from rml_platform.run.files.record_archive import Packed, unpack_records
from rml_platform.run.storage import Folder
from rml_trainers.errors import ConfigError
from tests.unit.platform.run.files.test_record_archive import DONE, OTHER, contents, fill, pack

FIRST_OF_OTHER = 6 + 1
"""Number of the write that begins the second run: the first has pictures."""


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    there = tmp_path / "there"
    for run_id in (DONE, OTHER):
        fill(there, run_id, 0.5)
    packed = tmp_path / "records.zip"
    pack(there, packed, [DONE])
    return packed


def full() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def stop_at(number: int, error: BaseException, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let the write of this number, counted from 1, leave what one may that is cut off; returns the
    files that are written."""
    names = list[str]()
    write = Folder.write

    def failing(folder: Folder, name: str, content: bytes) -> None:
        write(folder, name, content)
        names.append(f"{folder.path}/{name}")
        if len(names) == number:
            parent, _, own = names[-1].rpartition("/")
            Path(parent, f".{own}.0123abcd").write_bytes(b"half of it")
            raise error

    monkeypatch.setattr(Folder, "write", failing)
    return names


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (full(), r"metrics/000000002\.json cannot be laid here: .*The disk is full: free some"),
        (PermissionError(errno.EACCES, "Permission denied"), "Permission denied.*Mend that"),
    ],
    ids=["full", "forbidden"],
)
def test_an_error_of_writing_is_none_of_the_archive_and_its_run_is_taken_back(
    error: OSError, told: str, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    stop_at(FIRST_OF_OTHER + 1, error, monkeypatch)
    with pytest.raises(ConfigError, match=told) as caught:
        unpack_records(archive, here, str(here))
    assert str(caught.value).startswith(str(here)), "the folder is named"
    assert "readable archive" not in str(caught.value)
    monkeypatch.undo()
    assert not (here / "runs" / OTHER).exists()
    assert unpack_records(archive, here, str(here)) == Packed(runs=(OTHER,), left=(DONE,))


def test_a_place_that_is_a_file_is_told_with_its_name(archive: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "runs").write_text("a file of somebody")
    with pytest.raises(ConfigError, match=rf"{here}: runs/{DONE}.* cannot be laid here"):
        unpack_records(archive, here, str(here))
    assert (here / "runs").read_text() == "a file of somebody"


def test_a_full_temporary_folder_is_none_of_the_archive_either(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copy(*_: object) -> None:
        raise full()

    monkeypatch.setattr("shutil.copyfileobj", copy)
    with pytest.raises(ConfigError, match=r"no room for the .* bytes .* TMPDIR"):
        unpack_records(archive, tmp_path / "here", str(tmp_path / "here"))


@pytest.mark.parametrize("number", range(1, FIRST_OF_OTHER))
def test_a_stop_takes_back_what_was_written_of_the_run(
    number: int, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    claim = here / "runs" / DONE / "claims" / "1.json"
    claim.parent.mkdir(parents=True)
    claim.write_text("of a launch")
    stop_at(number, KeyboardInterrupt(), monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        unpack_records(archive, here, str(here))
    assert contents(here) == {claim: b"of a launch"}


def test_a_run_that_unpacking_was_killed_over_is_completed(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tmp_path / "whole"
    written = stop_at(-1, full(), monkeypatch)
    unpack_records(archive, whole, str(whole))
    monkeypatch.undo()
    wanted = {path.relative_to(whole): text for path, text in contents(whole).items()}
    for number in range(1, FIRST_OF_OTHER - 1):
        here = tmp_path / f"here {number}"
        for name in written[:number]:
            own = Path(name).relative_to(whole)
            Folder.open(here).write(str(own), wanted[own])
        assert unpack_records(archive, here, str(here)).runs == (DONE, OTHER), number
        found = {path.relative_to(here): text for path, text in contents(here).items()}
        assert found == wanted, number


@pytest.mark.parametrize("name", ["task.json", "heartbeat.json", "metrics/000000002.json"])
def test_a_run_with_other_content_was_begun_here(name: str, archive: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    fill(here, DONE, 0.5)
    (here / "runs" / DONE / "result.json").unlink()
    own = here / "runs" / DONE / name
    own.write_text('{"launch_id": "own"}')
    before = contents(here / "runs" / DONE)
    assert unpack_records(archive, here, str(here)).left == (DONE,)
    assert contents(here / "runs" / DONE) == before
