"""What runs read, stored once: whole or not at all, and every byte verified on its way back."""

import errno
import json
import os
import threading
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from rml_platform.run.codec import DamagedFileError
from rml_platform.run.faults import outages
from rml_platform.run.files import input_store
from rml_platform.run.files.input_store import INDEX_FILE, InputStore
from rml_platform.run.storage import Folder
from rml_trainers.errors import ConfigError, DataError
from tests.support.platform.object_store import s3_endpoint as s3_endpoint
from tests.support.platform.object_store import s3_uri as s3_uri

NAME = "camvid-0123456789ab"


@pytest.fixture(params=["local", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "local":
        return str(tmp_path / "storage")
    return str(request.getfixturevalue("s3_uri"))


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    folder = tmp_path / "here"
    folder.mkdir()
    for name, size in {"train.arrow": 3_000_000, "manifest.json": 40, "empty": 0}.items():
        (folder / name).write_bytes(bytes(i % 251 for i in range(size)))
    return {path.name: path for path in folder.iterdir()}


def fetched(storage: str, target: Path) -> dict[str, bytes]:
    store = InputStore(storage)
    index = store.index(NAME)
    assert index is not None
    store.fetch(NAME, index, target, lambda text: None)
    return {path.name: path.read_bytes() for path in target.iterdir()}


def test_what_is_stored_comes_back_and_is_stored_once(
    storage: str, files: dict[str, Path], tmp_path: Path
) -> None:
    said: list[str] = []
    store = InputStore(storage)
    assert store.index(NAME) is None
    assert store.put(NAME, files, said.append)
    assert said[0].startswith(f"storing {NAME} (3.0 MB) in ")
    assert not InputStore(storage).put(NAME, files, pytest.fail)
    assert fetched(storage, tmp_path / "there") == {
        name: path.read_bytes() for name, path in files.items()
    }
    everything = Folder.open(storage).child("inputs")
    assert everything.folders() == [NAME]


def test_an_upload_that_was_cut_off_counts_as_absent_and_is_made_again(
    storage: str, files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Cut(Exception): ...

    def cut(*_: object) -> None:
        raise Cut

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "write", cut)  # of the index, after all files
        with pytest.raises(Cut):
            InputStore(storage).put(NAME, files, lambda text: None)
    assert InputStore(storage).index(NAME) is None
    assert InputStore(storage).put(NAME, files, lambda text: None)
    assert fetched(storage, tmp_path / "there").keys() == files.keys()


def test_two_launches_at_once_store_the_same(
    storage: str, files: dict[str, Path], tmp_path: Path
) -> None:
    start = threading.Barrier(2)
    failed: list[BaseException] = []

    def put() -> None:
        start.wait()
        try:
            InputStore(storage).put(NAME, files, lambda text: None)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=put) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert fetched(storage, tmp_path / "there").keys() == files.keys()
    assert Folder.open(storage).child("inputs").folders() == [NAME]


class Away:
    """A file system that goes away when so many bytes of a file were read, for so many tries."""

    def __init__(self, filesystem: Any, after: int, tries: int) -> None:
        self._filesystem = filesystem
        self._after = after
        self._left = tries
        self.read_bytes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._filesystem, name)

    def open_input_file(self, path: str) -> Any:
        opened = self._filesystem.open_input_file(path)
        read = opened.read

        def read_or_fail(size: int) -> bytes:
            if self._left and opened.tell() >= self._after:
                self._left -= 1
                raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
            content = bytes(read(size))
            self.read_bytes += len(content)
            return content

        return Mock(read=read_or_fail, seek=opened.seek, close=opened.close)


def test_an_outage_while_a_file_is_brought_is_waited_for_and_nothing_is_brought_twice(
    tmp_path: Path, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outages, "FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr(input_store, "CHUNK_BYTES", 1_000_000)
    store = InputStore(str(tmp_path / "storage"))
    store.put(NAME, files, lambda text: None)
    index = store.index(NAME)
    assert index is not None
    away = Away(store._folder.filesystem, after=2_000_000, tries=10)
    store._folder = Folder(away, store._folder.path)
    said: list[str] = []
    monkeypatch.setattr(input_store, "TELL_EVERY_S", 0.0)
    store.fetch(NAME, index, tmp_path / "there", said.append)
    for name, path in files.items():
        assert (tmp_path / "there" / name).read_bytes() == path.read_bytes()
    assert away.read_bytes == sum(path.stat().st_size for path in files.values())
    assert said[-2].endswith(" 100 %")


def test_an_outage_that_stays_has_an_end(
    tmp_path: Path, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outages, "OUTAGE_S", 0.0)
    store = InputStore(str(tmp_path / "storage"))
    store.put(NAME, files, lambda text: None)
    index = store.index(NAME)
    assert index is not None
    away = Away(store._folder.filesystem, after=0, tries=100)
    store._folder = Folder(away, store._folder.path)
    with pytest.raises(TimeoutError):
        store.fetch(NAME, index, tmp_path / "there", lambda text: None)
    assert away._left == 99, "what was waited for is not tried again as what is damaged is"


@pytest.mark.parametrize("change", ["flipped", "cut"])
def test_what_is_damaged_in_the_storage_is_named(
    storage: str, files: dict[str, Path], tmp_path: Path, change: str
) -> None:
    InputStore(storage).put(NAME, files, lambda text: None)
    folder = Folder.open(storage).child("inputs", NAME)
    content = folder.read("train.arrow")
    assert content is not None
    flipped = bytes([content[0] ^ 1]) + content[1:]
    folder.write("train.arrow", flipped if change == "flipped" else content[:-1])
    with pytest.raises(DataError, match=f"{NAME}/train.arrow is damaged.*launch again"):
        fetched(storage, tmp_path / "there")


@pytest.mark.parametrize("name", ["../x", "a/b", "..", ""])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    store = InputStore(str(tmp_path))
    with pytest.raises(ConfigError, match="cannot be the name of a stored input"):
        store.index(name)
    index = json.dumps({name: {"size": 1, "sha256": "0"}})
    Folder.open(tmp_path).child("inputs", NAME).write(INDEX_FILE, index.encode())
    with pytest.raises(ConfigError, match="cannot be the name of a stored input"):
        store.index(NAME)


def test_a_damaged_index_is_named(tmp_path: Path) -> None:
    Folder.open(tmp_path).child("inputs", NAME).write(INDEX_FILE, b"[]")
    with pytest.raises(DamagedFileError, match=f"{NAME}/{INDEX_FILE} is damaged"):
        InputStore(str(tmp_path)).index(NAME)
