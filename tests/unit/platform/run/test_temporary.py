"""Temporary folders of processes that were killed are swept away by the next."""

import stat
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from rml_platform.launch.session.local_ray import LONG_PLACE
from rml_platform.run.files import earlier_start, temporary
from rml_platform.run.files.temporary import MADE_ON, owned_name, sweep, temporary_folder
from rml_platform.run.task import Process
from tests.support.platform.tasks import dead_process

ME = Process.current()


def test_what_a_killed_process_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    dead = dead_process()
    of_dead = owned_name("rml-x-", dead, 0)
    stays = {
        owned_name("rml-x-", ME, 7),
        "rml-x-notes-b",
        owned_name("rml-y-", dead, 0),
        f"rml-x-{dead.pid}",
        f"rml-x-{dead.pid}-abcdefgh",
    }
    for name in (of_dead, *stays):
        (tmp_path / name).mkdir()
    with temporary_folder("rml-x-", tmp_path) as folder:
        assert {path.name for path in tmp_path.iterdir()} == {*stays, folder.name}
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {path.name for path in tmp_path.iterdir()} == stays


def test_whatever_killed_processes_left_is_swept_at_once(tmp_path: Path) -> None:
    dead = dead_process()
    stays = {owned_name("rml-tune-", ME, 0), "rml-chaos-b_c", owned_name("other-tune-", dead, 0)}
    for name in (owned_name("rml-tune-", dead, 0), owned_name("rml-work-", dead, 3), *stays):
        (tmp_path / name).mkdir()
    sweep(place=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == stays


def test_folders_of_other_machines_and_containers_stay(tmp_path: Path) -> None:
    foreign = owned_name("rml-work-", replace(dead_process(), machine="0123456789ab"), 0)
    (tmp_path / foreign / "checkpoint").mkdir(parents=True)
    sweep(place=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [foreign]


@pytest.mark.parametrize(
    ("made", "disk", "is_swept"),
    [
        ("{host}-0123456789ab", "ext4", True),
        ("{host}-0123456789ab", "nfs4", False),
        ("0123456789ab-0123456789ab", "ext4", False),
        ("{here}", "ext4", False),
        (None, "ext4", False),
    ],
)
def test_what_an_earlier_start_of_the_machine_left_is_swept_on_a_disk_of_its_own(
    made: str | None, disk: str, is_swept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tmp_path / owned_name("rml-work-", replace(dead_process(), machine="0123456789ab"), 0)
    left.mkdir()
    if made is not None:
        here = earlier_start.made_here()
        (left / MADE_ON).symlink_to(made.format(here=here, host=here.partition("-")[0]))
    monkeypatch.setattr(earlier_start, "disk_of", lambda folder: disk)
    sweep(place=tmp_path)
    assert left.exists() is not is_swept


def test_a_folder_says_on_which_start_of_which_machine_it_was_made(tmp_path: Path) -> None:
    with temporary_folder("rml-x-", tmp_path) as folder:
        assert str((folder / MADE_ON).readlink()) == earlier_start.made_here()
    assert list(tmp_path.iterdir()) == []
    assert earlier_start.disk_of(tmp_path) != ""


def test_a_later_process_with_the_same_number_keeps_nothing(tmp_path: Path) -> None:
    before = replace(ME, started=str(int(ME.started) - 100_000))
    (tmp_path / owned_name("rml-work-", before, 0)).mkdir()
    sweep(place=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_process_has_several_of_them(tmp_path: Path) -> None:
    with (
        temporary_folder("rml-x-", tmp_path) as one,
        temporary_folder("rml-x-", tmp_path) as other,
    ):
        assert one != other
        assert len(list(tmp_path.iterdir())) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_socket_of_ray_fits_in() -> None:
    most = Process(host="h", pid=4_194_304, started=str(100 * 0xFFFFFFF), machine=ME.machine or "0")
    folder = f"{'p' * (LONG_PLACE - 1)}/{owned_name('rml-ray-', most, 9)}/r"
    session = f"session_2026-01-01_00-00-00_000000_{most.pid}"
    assert len(f"{folder}/{session}/sockets/plasma_store") <= 107


def test_a_launch_also_sweeps_where_sockets_lie_if_the_temporary_folder_has_a_long_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = dead_process()
    long = tmp_path / "long"
    short = tmp_path / "short"
    for place in (long, short):
        (place / owned_name("rml-ray-", dead, 0)).mkdir(parents=True)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(long))
    monkeypatch.setattr(temporary, "SHORT", short)
    sweep()
    assert not [*long.iterdir(), *short.iterdir()]
