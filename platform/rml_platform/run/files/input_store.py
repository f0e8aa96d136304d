"""What runs read, stored once beside their folders for machines that do not have it:
`<storage>/inputs/<name>-<content hash>/`.

`rml-input.json` is written last and says what is there, with sizes and hashes: an upload that was
cut off has none, and is made again by whoever needs it. Two that upload at once write the same
bytes.
"""

import contextlib
import functools
import hashlib
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from rml_platform.run.codec import Codec
from rml_platform.run.faults.outages import is_outage, through_outages
from rml_platform.run.files.staging import staging_name, sweep
from rml_platform.run.storage import Folder
from rml_trainers.errors import ConfigError, DataError

INPUTS = "inputs"
INDEX_FILE = "rml-input.json"
CHUNK_BYTES = 8 * 1024 * 1024
TELL_EVERY_S = 30.0
TRIES = 3
"""At a file that comes otherwise than it was stored, or with an error that is no outage."""
_PLAIN = re.compile(r"[^/\\\x00-\x1f]+")
OnNote = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """One file as it was stored."""

    size: int
    """Bytes."""
    sha256: str


Index = dict[str, StoredFile]
INDEX = Codec[Index](Index)


class InputStore:
    """The inputs in one storage."""

    def __init__(self, storage: str) -> None:
        self._folder = Folder.open(storage).child(INPUTS)
        self.place = self._folder.path

    def index(self, name: str) -> Index | None:
        """What an input consists of; None where it is not stored, or not wholly.

        Raises:
            DamagedFileError: its index cannot be read.
            ConfigError: a name in it leads out of its folder.
        """
        content = self._folder.child(_plain(name)).read(INDEX_FILE)
        if content is None:
            return None
        index = INDEX.decode(content, f"{self.place}/{name}/{INDEX_FILE}")
        for file in index:
            _plain(file)
        return index

    def put(self, name: str, files: Mapping[str, Path], on_note: OnNote) -> bool:
        """Store an input unless it is there; whether it had to be.

        Raises:
            OSError: the storage cannot be written; the input counts as absent.
        """
        if self.index(name) is not None:
            return False
        target = self._folder.child(_plain(name))
        # Object stores cannot rename folders; there the index alone says that all is there.
        staging = self._folder.child(staging_name(name)) if target.local else target
        if self._folder.local is not None:
            sweep(self._folder.local)
        size = sum(file.stat().st_size for file in files.values())
        on_note(f"storing {name} ({megabytes(size)}) in {self.place} for the nodes of the cluster")
        progress = Progress(f"storing {name}", size, on_note)
        staging.filesystem.create_dir(staging.path, recursive=True)
        try:
            index = {
                _plain(own): _upload(path, staging, own, progress)
                for own, path in sorted(files.items())
            }
            staging.write(INDEX_FILE, INDEX.encode(index))
            if target.local:
                _rename(Path(staging.path), target.local)
        finally:
            if target.local:
                staging.delete_all()
        on_note(progress.summary(f"{name} is stored"))
        return True

    def fetch(self, name: str, index: Index, target: Path, on_note: OnNote) -> None:
        """Bring an input into a local folder, which is made, and verify every byte. A storage that
        is away is waited for, and the file read on from where it was.

        Raises:
            DataError: what the storage holds is not what was stored.
            OSError: the storage cannot be read, also after some tries.
        """
        target.mkdir(parents=True)
        size = sum(file.size for file in index.values())
        on_note(f"bringing {name} ({megabytes(size)}) to this node from {self.place}")
        progress = Progress(f"bringing {name}", size, on_note)
        for own, stored in sorted(index.items()):
            self._fetch_file(name, own, stored, target / own, progress)
        on_note(progress.summary(f"{name} is on this node"))

    def _fetch_file(
        self, name: str, own: str, stored: StoredFile, target: Path, progress: "Progress"
    ) -> None:
        source = Source(self._folder.child(name), own)
        before = progress.done
        for attempt in range(1, TRIES + 1):
            progress.done = before
            try:
                found = _copy(source.chunks(), target, progress)
            except OSError as error:
                if attempt == TRIES or is_outage(str(error)):
                    raise
                time.sleep(attempt)
                continue
            if found == stored:
                return
        raise DataError(
            f"{self.place}/{name}/{own} is damaged: it has {found.size} bytes with sha256 "
            f"{found.sha256[:12]}, stored were {stored.size} with {stored.sha256[:12]}. Delete "
            f"{self.place}/{name} and launch again"
        )


class Source:
    """A stored file as it is brought."""

    def __init__(self, folder: Folder, name: str) -> None:
        self._filesystem = folder.filesystem
        self._where = f"{folder.path}/{name}"
        self._open: Any = None

    def chunks(self) -> Iterator[bytes]:
        """Its content, piece by piece, each once the storage answers. Raises OSError."""
        place = 0
        try:
            while chunk := through_outages(functools.partial(self._chunk_at, place)):
                yield chunk
                place += len(chunk)
        finally:
            self._close()

    def _chunk_at(self, place: int) -> bytes:
        try:
            if self._open is None:
                self._open = self._filesystem.open_input_file(self._where)
                self._open.seek(place)
            return cast(bytes, self._open.read(CHUNK_BYTES))
        except OSError:
            self._close()
            raise

    def _close(self) -> None:
        """One that failed may fail to be closed, too: it is opened anew anyway."""
        opened = self._open
        self._open = None
        if opened is not None:
            with contextlib.suppress(OSError):
                opened.close()


class Progress:
    """Tells how far a copy is, not more often than every half minute."""

    def __init__(self, what: str, size: int, on_note: OnNote) -> None:
        self._what = what
        self._size = size
        self._on_note = on_note
        self._begun_s = time.monotonic()
        self._told_s = self._begun_s
        self.done = 0
        """Bytes; set back where a file is copied anew."""

    def add(self, count: int) -> None:
        """So many bytes more are copied."""
        self.done += count
        now_s = time.monotonic()
        if now_s - self._told_s >= TELL_EVERY_S:
            self._told_s = now_s
            self._on_note(f"{self._what}: {100 * self.done / max(1, self._size):.0f} %")

    def summary(self, what: str) -> str:
        """One sentence for the end."""
        seconds = time.monotonic() - self._begun_s
        return f"{what} ({megabytes(self._size)} in {seconds:.0f} s)"


def megabytes(size: int) -> str:
    """Bytes for a person."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _upload(path: Path, folder: Folder, name: str, progress: Progress) -> StoredFile:
    digest = hashlib.sha256()
    size = 0
    with (
        path.open("rb") as source,
        # Byte for byte, whatever the name ends in: so it is read.
        folder.filesystem.open_output_stream(f"{folder.path}/{name}", compression=None) as sink,
    ):
        while chunk := source.read(CHUNK_BYTES):
            digest.update(chunk)
            sink.write(chunk)
            size += len(chunk)
            progress.add(len(chunk))
    return StoredFile(size=size, sha256=digest.hexdigest())


def _copy(chunks: Iterable[bytes], target: Path, progress: Progress) -> StoredFile:
    digest = hashlib.sha256()
    size = 0
    with target.open("wb") as sink:
        for chunk in chunks:
            digest.update(chunk)
            sink.write(chunk)
            size += len(chunk)
            progress.add(len(chunk))
    return StoredFile(size=size, sha256=digest.hexdigest())


def _rename(staging: Path, target: Path) -> None:
    try:
        staging.replace(target)
    except OSError:
        if not (target / INDEX_FILE).is_file():  # otherwise another launch was quicker
            raise


def _plain(name: str) -> str:
    """A name that leads nowhere else. Raises ConfigError."""
    if not _PLAIN.fullmatch(name) or set(name) == {"."}:
        raise ConfigError(f"{name!r} cannot be the name of a stored input: it must name no path")
    return name
