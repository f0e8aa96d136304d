"""What a node has brought to its own disk: each input once, however many runs are there, kept for
the next ones until the space is needed.

    <RML_CACHE>/<name>-<content hash>/       an input, whole: it appears by being renamed
    <RML_CACHE>/<name>-<content hash>.lock   held shared by all who read it, alone by who brings or
                                             deletes it; its time is that of the last use
    <RML_CACHE>/space.lock                   held by who makes room

The locks are the system's (flock), so a process that is killed holds none. The folder has to be on
a disk of the node: nodes with a common one do not see each other's locks on every file system.
Users share a cache whose folder they may all write to: what is made there is as open as it is.
"""

import contextlib
import fcntl
import os
import shutil
import stat
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from rml_platform.run.files.node_disk import (
    NodeDiskError,
    blaming_disk,
    is_written_in_vain,
    write_probe,
)
from rml_trainers.errors import ConfigError

FOLDER_VARIABLE = "RML_CACHE"
LIMIT_VARIABLE = "RML_CACHE_GB"
DEFAULT_LIMIT_GB = 100.0
SPARE_BYTES = 200_000_000
"""Left free on the disk, for logs and checkpoints on their way."""
REMEDY = (
    f"free or mend it, or set {FOLDER_VARIABLE} on that node to a folder on another disk; one that "
    "several users share has to let them all write (chmod 1777), its .lock files, too"
)
Bring = Callable[[Path], None]
"""Makes the folder at the path that it is given, or raises."""
OnWait = Callable[[], None]
"""Is told every `TELL_EVERY_S` that a lock is still waited for."""
LOOK_EVERY_S = 0.2
TELL_EVERY_S = 30.0


class NodeCache:
    """The inputs on this node's disk."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder = folder
        self.limit_bytes = limit_bytes

    @classmethod
    def of_this_node(cls) -> "NodeCache":
        """The cache that `RML_CACHE` and `RML_CACHE_GB` describe.

        Raises:
            ConfigError: the limit is no number.
            NodeDiskError: the user has no home, and nothing says where else.
        """
        folder = os.environ.get(FOLDER_VARIABLE) or _place_of_users_caches() / "rml"
        text = os.environ.get(LIMIT_VARIABLE, str(DEFAULT_LIMIT_GB))
        try:
            limit_gb = float(text)
        except ValueError:
            raise ConfigError(f"{LIMIT_VARIABLE} = {text!r}: expected gigabytes, as 200") from None
        return cls(Path(folder).expanduser(), int(limit_gb * 1e9))

    @contextlib.contextmanager
    def holding(
        self, name: str, size: int, bring: Bring, on_wait: OnWait = lambda: None
    ) -> Iterator[Path]:
        """Folder of an input while the context is open; nobody deletes it meanwhile.

        One process of the node brings it, the others wait. `size` is what it takes, in bytes.

        Raises:
            NodeDiskError: the disk has no room for it, or lets nothing be written.
            Exception: what `bring` and `on_wait` raise.
        """
        place = self.folder / name
        with contextlib.ExitStack() as stack:
            with self._blaming_disk():
                self.folder.mkdir(parents=True, exist_ok=True)
                lock = stack.enter_context(self._lock(name))
            self._take(lock, fcntl.LOCK_SH, on_wait)
            while not place.is_dir():
                # Who has brought it holds it shared from then on, maybe for days.
                is_ours = self._take(lock, fcntl.LOCK_EX, on_wait, unless=place.is_dir)
                if is_ours and not place.is_dir():
                    self._bring(place, size, bring, on_wait)
                # Not in one step: where it is deleted in between, it is brought again.
                self._take(lock, fcntl.LOCK_SH, on_wait)
            with self._blaming_disk():
                os.utime(lock)
            yield place

    def check(self, names: Iterable[str]) -> None:
        """Write a small file, and open what is locked to bring these inputs. Raises
        NodeDiskError."""
        with self._blaming_disk():
            self.folder.mkdir(parents=True, exist_ok=True)
            write_probe(self.folder)
            for name in ("space", *names):
                with self._lock(name):
                    pass

    def names(self) -> list[str]:
        """The inputs that are here."""
        return sorted(path.name for path in self.folder.iterdir() if _is_input(path))

    def _take(
        self, lock: int, kind: int, on_wait: OnWait, unless: Callable[[], bool] = lambda: False
    ) -> bool:
        """Hold a lock, shared or alone, unless that becomes needless; whether it is held. It is
        looked at again and again: who waits in the system can tell nobody, and would be taken for
        hung."""
        told_s = time.monotonic()
        while not self._is_taken(lock, kind):
            if unless():
                return False
            time.sleep(LOOK_EVERY_S)
            if time.monotonic() - told_s >= TELL_EVERY_S:
                told_s = time.monotonic()
                on_wait()
        return True

    def _is_taken(self, lock: int, kind: int) -> bool:
        with self._blaming_disk():
            try:
                fcntl.flock(lock, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                # Two that hold it shared, and want it alone, would wait for each other for ever.
                fcntl.flock(lock, fcntl.LOCK_UN)
                return False
            return True

    def _bring(self, place: Path, size: int, bring: Bring, on_wait: OnWait) -> None:
        with self._blaming_disk():
            for left in self.folder.glob(f".{place.name}.*"):  # of a process that was killed
                shutil.rmtree(left, ignore_errors=True)
        self._make_room(place.name, size, on_wait)
        staging = place.with_name(f".{place.name}.{uuid.uuid4().hex[:8]}")
        try:
            try:
                bring(staging)
            except OSError as error:  # of this disk, or of the storage that it is brought from
                if is_written_in_vain(error) or _is_below(self.folder, error.filename):
                    raise NodeDiskError(f"{self.folder}: {error}; {REMEDY}") from error
                raise
            with self._blaming_disk():
                self._open_to_others(staging)
                staging.replace(place)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _make_room(self, name: str, size: int, on_wait: OnWait) -> None:
        """Delete what was used longest ago and is not in use, until the limit is kept and the disk
        has room. A single input may be larger than the limit."""
        with contextlib.ExitStack() as stack:
            with self._blaming_disk():
                lock = stack.enter_context(self._lock("space"))
            self._take(lock, fcntl.LOCK_EX, on_wait)
            with self._blaming_disk():
                self._delete_others(name, size)

    def _delete_others(self, name: str, size: int) -> None:
        others = [other for other in self.names() if other != name]
        sizes = {other: _size(self.folder / other) for other in others}
        for other in sorted(others, key=self._last_use):
            is_kept = sum(sizes.values()) + size <= self.limit_bytes
            if is_kept and self._free_bytes() >= size + SPARE_BYTES:
                return
            if self._delete(other):
                del sizes[other]
        if self._free_bytes() < size + SPARE_BYTES:
            raise NodeDiskError(
                f"no room for {name} in {self.folder}: {size / 1e9:.1f} GB needed, "
                f"{self._free_bytes() / 1e9:.1f} GB free. Free some, or set {FOLDER_VARIABLE} on "
                "this node to a folder on a larger disk"
            )

    def _delete(self, name: str) -> bool:
        """Delete an input unless somebody holds it, or it is another user's in a folder where only
        the owner may (chmod 1777)."""
        with contextlib.suppress(BlockingIOError, PermissionError), self._lock(name) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            away = self.folder / f".{name}.{uuid.uuid4().hex[:8]}"
            (self.folder / name).replace(away)  # whole or gone, also when this process is killed
            shutil.rmtree(away, ignore_errors=True)
            return True
        return False

    @contextlib.contextmanager
    def _lock(self, name: str) -> Iterator[int]:
        lock = self._opened(self.folder / f"{name}.lock")
        try:
            yield lock
        finally:
            os.close(lock)

    def _opened(self, lock: Path) -> int:
        """A lock file, made where it is not there; in a shared cache with the rights of those who
        share it from its first moment on."""
        others = self._others_bits()
        if not others:
            return os.open(lock, os.O_CREAT | os.O_RDWR, 0o600)
        while True:
            try:
                # Without O_CREAT: where all may write, systems refuse that for others' files.
                return os.open(lock, os.O_RDWR)
            except FileNotFoundError:
                own = lock.with_name(f".{lock.name}.{uuid.uuid4().hex[:8]}")
            os.close(os.open(own, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            try:
                own.chmod(0o600 | 3 * others)
                with contextlib.suppress(FileExistsError):  # somebody was quicker
                    os.link(own, lock)
            finally:
                own.unlink()

    def _others_bits(self) -> int:
        """Who else may write to the cache, as the bits of a mode that let them."""
        return self.folder.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH)

    def _open_to_others(self, place: Path) -> None:
        """Let those who share the cache read an input, and delete it where they may delete any."""
        writes = self._others_bits()
        reads = 2 * writes
        looks = writes // 2
        may_delete_any = not self.folder.stat().st_mode & stat.S_ISVTX
        for path in (place, *place.rglob("*")):
            more = reads
            if path.is_dir():
                more |= looks | (writes if may_delete_any else 0)
            path.chmod(stat.S_IMODE(path.stat().st_mode) | more)

    def _blaming_disk(self) -> contextlib.AbstractContextManager[None]:
        return blaming_disk(self.folder, REMEDY)

    def _last_use(self, name: str) -> float:
        try:
            return (self.folder / f"{name}.lock").stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def _free_bytes(self) -> int:
        return shutil.disk_usage(self.folder).free


def _place_of_users_caches() -> Path:
    place = os.environ.get("XDG_CACHE_HOME")
    if place:
        return Path(place)
    try:
        return Path.home() / ".cache"
    except RuntimeError as error:
        raise NodeDiskError(
            f"this node knows no home of its user ({error}): set {FOLDER_VARIABLE} there"
        ) from error


def _is_input(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")


def _is_below(folder: Path, name: object) -> bool:
    return isinstance(name, str) and Path(name).is_relative_to(folder)


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
