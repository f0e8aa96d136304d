"""What killed uploaders leave is removed by the next one, and nothing else is."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from rml_platform.run.files import earlier_start
from rml_platform.run.files.staging import staging_name, sweep
from rml_platform.run.storage import Folder
from rml_platform.run.task import Process

LEAVE = "from rml_platform.run.files.staging import staging_name; print(staging_name('made'))"


def left_by_a_dead_process(place: Path) -> Path:
    done = subprocess.run([sys.executable, "-c", LEAVE], capture_output=True, text=True, check=True)
    left = place / done.stdout.strip()
    left.mkdir(parents=True)
    (left / "half").write_bytes(b"x")
    return left


def test_an_upload_removes_what_the_dead_have_left(tmp_path: Path) -> None:
    place = tmp_path / "store"
    left = left_by_a_dead_process(place)
    source = tmp_path / "source"
    source.mkdir()
    (source / "manifest.json").write_text("{}")
    Folder.open(place).upload(source, "made", last="manifest.json")
    assert not left.exists()
    assert [path.name for path in place.iterdir()] == ["made"]


def test_what_is_being_written_or_belongs_to_another_machine_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / staging_name("made")
    own.mkdir()
    elsewhere = replace(Process.current(), machine="0123456789ab", pid=1)
    with monkeypatch.context() as patch:
        patch.setattr(Process, "current", lambda: elsewhere)
        theirs = tmp_path / staging_name("made")
    theirs.mkdir()
    (tmp_path / ".hidden").mkdir()
    sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {own.name, theirs.name, ".hidden"}


@pytest.mark.parametrize(
    ("disk", "made", "is_swept"),
    [
        ("ext4", "{host}-0123456789ab", True),
        ("lustre", "{host}-0123456789ab", False),
        ("ext4", "0123456789ab-0123456789ab", False),
        ("ext4", "{here}", False),
        ("ext4", "", False),
    ],
)
def test_what_an_earlier_start_of_the_machine_left_goes_where_no_other_machine_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk: str, made: str, is_swept: bool
) -> None:
    here = earlier_start.made_here()
    made = made.format(here=here, host=here.partition("-")[0])
    left = tmp_path / f".made.ba9876543210-77-88{'-' if made else ''}{made}.01234567"
    left.mkdir()
    monkeypatch.setattr(earlier_start, "disk_of", lambda place: disk)
    sweep(tmp_path)
    assert left.exists() is not is_swept
