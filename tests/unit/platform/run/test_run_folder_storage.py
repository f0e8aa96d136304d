"""Folders on local and remote filesystems."""

import errno
import os
import shutil
from pathlib import Path

import pytest
from pyarrow import fs

from rml_platform.run.storage import Folder


@pytest.fixture(params=["local", "remote"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    return open_folder(request.param, tmp_path / "place")


def open_folder(kind: str, path: Path) -> Folder:
    """A local folder, or one that pretends not to be (the same code path as an object store)."""
    if kind == "local":
        return Folder.open(path)
    path.mkdir(parents=True, exist_ok=True)
    return Folder(fs.SubTreeFileSystem(str(path), fs.LocalFileSystem()), "in/store")


def test_reading_gives_back_what_was_written(folder: Folder) -> None:
    assert folder.read("a.json") is None
    folder.write("a.json", b"[1, 2.5]")
    folder.write("a.json", b"[2]")
    assert folder.read("a.json") == b"[2]"
    assert folder.files() == ["a.json"]


def test_a_change_of_a_file_is_seen_without_reading_it(folder: Folder) -> None:
    assert folder.state_of("log.txt") is None
    folder.write("log.txt", b"one\n")
    before = folder.state_of("log.txt")
    assert folder.state_of("log.txt") == before
    folder.write("log.txt", b"one\ntwo\n")
    after = folder.state_of("log.txt")
    assert before is not None and after is not None
    assert (before[0], after[0]) == (4, 8)
    assert Folder(folder.filesystem, folder.path.rpartition("/")[0]).state_of(folder.name) is None


def test_a_name_with_folders_is_written_into_them(folder: Folder) -> None:
    folder.write("city 0 ü/deep/im08.png", b"png")
    folder.write("city 0 ü/deep/im08.png", b"new")
    assert folder.read("city 0 ü/deep/im08.png") == b"new"
    assert folder.child("city 0 ü", "deep").files() == ["im08.png"]
    everything = folder.filesystem.get_file_info(fs.FileSelector(folder.path, recursive=True))
    assert [info.base_name for info in everything if info.is_file] == ["im08.png"]


def test_what_is_taken_back_is_gone_and_what_is_of_others_stays(folder: Folder) -> None:
    names = ["a/deep/one.json", "a.json"]
    for kept in ([], ["b.json"]):
        for name in [*names, *kept]:
            folder.write(name, b"x")
        folder.write("a/deep/.one.json.0123abcd", b"half of it")
        assert folder.files_below() == [*sorted(names), *kept]
        folder.take_back(names)
        assert folder.files_below() == kept
        assert folder.exists() is bool(kept)


def test_a_write_that_fails_leaves_the_old_content_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder.open(tmp_path)
    folder.write("a", b"old")

    class Full:
        def __getattr__(self, name: str) -> object:
            return getattr(folder.filesystem, name)

        def move(self, source: str, target: str) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        Folder(Full(), folder.path).write("a", b"new")
    assert folder.read("a") == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_folder_goes_up_and_comes_down_whole(folder: Folder, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("manifest.json", "b.bin"):
        (source / name).write_text(name)
    folder.upload(source, "copy", last="manifest.json")
    assert folder.folders() == ["copy"]
    down = folder.child("copy").download(tmp_path / "down")
    assert {path.name: path.read_text() for path in down.iterdir()} == {
        "manifest.json": "manifest.json",
        "b.bin": "b.bin",
    }
    folder.child("copy").delete_all()
    assert folder.folders() == []


@pytest.mark.parametrize("kind", ["local", "remote"])
def test_an_upload_cut_short_leaves_nothing_that_looks_complete(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = open_folder(kind, tmp_path / "place")
    source = tmp_path / "source"
    source.mkdir()
    for name in ("manifest.json", "z.bin"):
        (source / name).write_text(name)
    original = Folder._store_file

    def fail_on_manifest(self: Folder, file: Path, target: str, gives_up: bool) -> None:
        if file.name == "manifest.json":
            raise OSError(errno.ENOSPC, "No space left on device")
        original(self, file, target, gives_up)

    monkeypatch.setattr(Folder, "_store_file", fail_on_manifest)
    with pytest.raises(OSError, match="No space"):
        folder.upload(source, "copy", last="manifest.json")
    assert folder.folders() == []
    shutil.rmtree(source)


@pytest.mark.parametrize("has_links", [True, False])
def test_files_that_are_given_up_are_not_written_again_where_there_are_links(
    has_links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "manifest.json").write_text("whole")

    def refuse(file: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    if not has_links:
        monkeypatch.setattr(os, "link", refuse)
    folder = open_folder("local", tmp_path / "place")
    folder.upload(source, "taken", last="manifest.json", gives_up=True)
    folder.upload(source, "copied", last="manifest.json")
    original = source / "manifest.json"
    taken = tmp_path / "place" / "taken" / "manifest.json"
    assert taken.samefile(original) == has_links
    assert not (tmp_path / "place" / "copied" / "manifest.json").samefile(original)
    shutil.rmtree(source)
    assert taken.read_text() == "whole"


def test_deleting_what_is_not_there_is_no_error(folder: Folder) -> None:
    folder.delete("nothing")
    folder.delete_all()
    assert not folder.exists()


def test_a_folder_that_appears_while_it_is_listed_is_no_error(tmp_path: Path) -> None:
    """As pyarrow's listing: it misses the folder, then sees that the folder is there after all."""
    real = fs.LocalFileSystem()

    class Late:
        def get_file_info(self, selector: fs.FileSelector) -> object:
            if (tmp_path / "new").exists():
                return real.get_file_info(selector)
            (tmp_path / "new").mkdir()
            (tmp_path / "new" / "a").touch()
            raise FileNotFoundError(errno.ENOENT, "Cannot list directory")

    assert Folder(Late(), str(tmp_path / "new")).files() == ["a"]
