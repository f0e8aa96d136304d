"""Temporary folders of processes that were killed are swept away by the next."""

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from rml_platform.run.files import temporary
from rml_platform.run.files.temporary import sweep, temporary_folder


def test_what_a_killed_process_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    stays = {f"rml-x-{os.getpid()}-a", "rml-x-notes-b", f"rml-y-{dead.pid}-c", f"rml-x-{dead.pid}"}
    for name in (f"rml-x-{dead.pid}-d", *stays):
        (tmp_path / name).mkdir()
    with temporary_folder("rml-x-", tmp_path) as folder:
        assert {path.name for path in tmp_path.iterdir()} == {*stays, folder.name}
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {path.name for path in tmp_path.iterdir()} == stays


def test_whatever_killed_processes_left_is_swept_at_once(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    stays = {f"rml-tune-{os.getpid()}-a", "rml-chaos-b_c", f"other-tune-{dead.pid}-d"}
    for name in (f"rml-tune-{dead.pid}-e", f"rml-work-{dead.pid}-f", *stays):
        (tmp_path / name).mkdir()
    sweep(place=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == stays


def test_a_launch_also_sweeps_where_sockets_lie_if_the_temporary_folder_has_a_long_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    long = tmp_path / "long"
    short = tmp_path / "short"
    for place in (long, short):
        (place / f"rml-ray-{dead.pid}-a").mkdir(parents=True)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(long))
    monkeypatch.setattr(temporary, "SHORT", short)
    sweep()
    assert not [*long.iterdir(), *short.iterdir()]
