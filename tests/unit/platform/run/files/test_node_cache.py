"""A node's cache: each input brought once, kept within the limit, never deleted in use."""

import errno
import fcntl
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from rml_platform.run.files import node_cache
from rml_platform.run.files.node_cache import NodeCache
from rml_platform.run.files.node_disk import NodeDiskError
from rml_trainers.errors import ConfigError

SIZE = 1000
NOBODY = 65_534


def bringing(log: list[str], size: int = SIZE) -> Callable[[Path], None]:
    def bring(folder: Path) -> None:
        log.append(folder.name.split(".")[1])
        folder.mkdir()
        (folder / "train.arrow").write_bytes(bytes(size))

    return bring


def use(cache: NodeCache, name: str, log: list[str], time_s: float) -> None:
    with cache.holding(name, SIZE, bringing(log)) as folder:
        assert (folder / "train.arrow").stat().st_size == SIZE
    os.utime(cache.folder / f"{name}.lock", (time_s, time_s))


def test_many_at_once_get_what_one_brings(tmp_path: Path) -> None:
    log: list[str] = []
    start = threading.Barrier(8)
    found: list[Path] = []

    def hold() -> None:
        start.wait()
        with NodeCache(tmp_path, 10 * SIZE).holding("a-1", SIZE, bringing(log)) as folder:
            found.append(folder)

    threads = [threading.Thread(target=hold) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log == ["a-1"]
    assert found == [tmp_path / "a-1"] * 8


@pytest.mark.parametrize("lock", ["a-1", "space"])
def test_who_waits_for_another_says_so_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lock: str
) -> None:
    monkeypatch.setattr(node_cache, "LOOK_EVERY_S", 0.001)
    monkeypatch.setattr(node_cache, "TELL_EVERY_S", 0.002)
    cache = NodeCache(tmp_path, SIZE)
    said: list[str] = []
    with (tmp_path / f"{lock}.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)

        def on_wait() -> None:
            said.append("waiting")
            if len(said) == 3:
                fcntl.flock(other, fcntl.LOCK_UN)

        log: list[str] = []
        with cache.holding("a-1", SIZE, bringing(log), on_wait) as folder:
            assert folder.is_dir()
    assert (log, said) == (["a-1"], ["waiting"] * 3)


def test_what_another_brings_and_holds_meanwhile_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_cache, "LOOK_EVERY_S", 0.001)
    monkeypatch.setattr(node_cache, "TELL_EVERY_S", 0.0)
    log: list[str] = []
    with (tmp_path / "a-1.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_SH)

        def on_wait() -> None:
            (tmp_path / "a-1").mkdir(exist_ok=True)

        with NodeCache(tmp_path, SIZE).holding("a-1", SIZE, bringing(log), on_wait) as folder:
            assert folder.is_dir()
    assert log == []


def test_what_is_raised_by_who_is_told_is_not_the_disks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_cache, "LOOK_EVERY_S", 0.001)
    monkeypatch.setattr(node_cache, "TELL_EVERY_S", 0.0)

    def fail() -> None:
        raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))

    with (tmp_path / "a-1.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with (
            pytest.raises(TimeoutError),
            NodeCache(tmp_path, SIZE).holding("a-1", SIZE, bringing([]), fail),
        ):
            raise AssertionError("another has it")


def test_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    log: list[str] = []
    cache = NodeCache(tmp_path, 2 * SIZE)
    use(cache, "a-1", log, 100)
    use(cache, "b-2", log, 200)
    use(cache, "a-1", log, 300)
    use(cache, "c-3", log, 400)
    assert cache.names() == ["a-1", "c-3"]
    assert log == ["a-1", "b-2", "c-3"]
    use(cache, "b-2", log, 500)
    assert cache.names() == ["b-2", "c-3"]


def test_what_is_in_use_stays(tmp_path: Path) -> None:
    log: list[str] = []
    cache = NodeCache(tmp_path, SIZE)
    with cache.holding("a-1", SIZE, bringing(log)):
        use(cache, "b-2", log, 200)
        use(NodeCache(tmp_path, SIZE), "c-3", log, 300)
        assert cache.names() == ["a-1", "c-3"]
    use(cache, "d-4", log, 400)
    assert cache.names() == ["d-4"]


def test_one_that_is_larger_than_the_limit_is_brought_alone(tmp_path: Path) -> None:
    log: list[str] = []
    cache = NodeCache(tmp_path, SIZE // 2)
    use(cache, "a-1", log, 100)
    use(cache, "b-2", log, 200)
    assert cache.names() == ["b-2"]


def test_a_bring_that_fails_or_was_killed_leaves_nothing(tmp_path: Path) -> None:
    log: list[str] = []
    cache = NodeCache(tmp_path, SIZE)

    def fail(folder: Path) -> None:
        folder.mkdir()
        (folder / "train.arrow").write_bytes(bytes(10))
        raise OSError("away")

    with pytest.raises(OSError, match="away"), cache.holding("a-1", SIZE, fail):
        raise AssertionError("nothing was brought")
    assert cache.names() == []
    left = tmp_path / ".a-1.killed"
    left.mkdir()
    use(cache, "a-1", log, 100)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["a-1"]


def test_a_full_disk_is_told_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log: list[str] = []
    cache = NodeCache(tmp_path, 10 * SIZE)
    use(cache, "a-1", log, 100)
    full = shutil._ntuple_diskusage(10**9, 10**9, 0)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    with (
        pytest.raises(NodeDiskError, match=r"no room for b-2 in .*RML_CACHE"),
        cache.holding("b-2", SIZE, bringing(log)),
    ):
        raise AssertionError("there was no room")
    assert cache.names() == []  # what could be deleted was


def test_a_disk_that_takes_no_more_is_the_nodes_and_an_error_of_the_storage_is_not(
    tmp_path: Path,
) -> None:
    cache = NodeCache(tmp_path, SIZE)

    def failing(error: OSError) -> Callable[[Path], None]:
        def fail(folder: Path) -> None:
            raise error

        return fail

    full = OSError(errno.ENOSPC, "No space left on device")
    forbidden = PermissionError(errno.EACCES, "Permission denied", str(tmp_path / ".a-1.x" / "t"))
    for error in (full, forbidden):
        with (
            pytest.raises(NodeDiskError, match=r"set RML_CACHE"),
            cache.holding("a-1", SIZE, failing(error)),
        ):
            raise AssertionError("nothing was brought")
    away = PermissionError(errno.EACCES, "Permission denied", "/storage/inputs/a-1/t")
    with pytest.raises(PermissionError), cache.holding("a-1", SIZE, failing(away)):
        raise AssertionError("nothing was brought")


def test_a_cache_that_cannot_be_written_is_told_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = NodeCache(tmp_path / "file" / "cache", SIZE)
    with pytest.raises(NodeDiskError, match=r"file/cache: .*set RML_CACHE"):
        cache.check(["a-1"])
    with (
        pytest.raises(NodeDiskError, match=r"file/cache: .*set RML_CACHE"),
        cache.holding("a-1", SIZE, bringing([])),
    ):
        raise AssertionError("nothing was brought")


@pytest.mark.parametrize(
    ("folder", "lock", "input_"),
    [(0o755, 0o600, 0o755), (0o1777, 0o666, 0o755), (0o2770, 0o660, 0o770), (0o777, 0o666, 0o777)],
)
def test_what_users_share_is_as_open_as_its_folder(
    tmp_path: Path, folder: int, lock: int, input_: int
) -> None:
    tmp_path.chmod(folder)
    umask = os.umask(0o022 if folder != 0o2770 else 0o077)
    try:
        with NodeCache(tmp_path, SIZE).holding("a-1", SIZE, bringing([])) as held:
            modes = [path.stat().st_mode for path in (tmp_path / "a-1.lock", held)]
            assert [mode & 0o777 for mode in modes] == [lock, input_]
            assert held.joinpath("train.arrow").stat().st_mode & lock & 0o044 == lock & 0o044
    finally:
        os.umask(umask)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-1", "a-1.lock", "space.lock"]


@pytest.mark.skipif(
    os.geteuid() != 0,
    reason="needs root, who alone becomes another user: run this test in a container, as root",
)
def test_another_user_shares_a_cache() -> None:
    # Not below the folder of pytest, which is its user's alone.
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        shared = Path(place)
        shared.chmod(0o1777)
        use(NodeCache(shared, 10 * SIZE), "a-1", [], 100)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.setgid(NOBODY)
                os.setuid(NOBODY)
                log: list[str] = []
                with NodeCache(shared, SIZE).holding("a-1", SIZE, bringing(log)) as folder:
                    (folder / "train.arrow").read_bytes()
                with NodeCache(shared, SIZE).holding("b-2", SIZE, bringing(log)):
                    code = 0 if log == ["b-2"] else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert NodeCache(shared, SIZE).names() == ["a-1", "b-2"], "one may not delete the other's"


def test_the_environment_says_where_and_how_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RML_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RML_CACHE_GB", "1.5")
    cache = NodeCache.of_this_node()
    assert (cache.folder, cache.limit_bytes) == (tmp_path / "cache", 1_500_000_000)
    monkeypatch.setenv("RML_CACHE_GB", "much")
    with pytest.raises(ConfigError, match="RML_CACHE_GB = 'much'"):
        NodeCache.of_this_node()
    monkeypatch.delenv("RML_CACHE")
    monkeypatch.delenv("RML_CACHE_GB")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert NodeCache.of_this_node().folder == tmp_path / "rml"


def test_a_user_without_a_home_says_where_the_cache_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("RML_CACHE", raising=False)
    with pytest.raises(NodeDiskError, match=r"set RML_CACHE"):
        NodeCache.of_this_node()
    monkeypatch.setenv("RML_CACHE", str(tmp_path))
    assert NodeCache.of_this_node().folder == tmp_path
