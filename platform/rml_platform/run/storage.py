"""Folders on any pyarrow filesystem: a local path, or a URI such as s3://bucket/runs, gs://…,
hdfs://….

Single files appear whole or not at all: they are written under a temporary name and moved.
"""

import contextlib
import os
import re
import shutil
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pyarrow import fs

from rml_platform.run.files.staging import staging_name, sweep
from rml_trainers.errors import ConfigError

_UNFINISHED = re.compile(r"\..+\.[0-9a-f]{8}")


@dataclass(frozen=True)
class Folder:
    """One folder; it need not exist yet."""

    filesystem: Any
    path: str

    @classmethod
    def open(cls, location: str | Path) -> "Folder":
        """Folder at a local path (relative to the working directory) or at a URI that pyarrow
        understands."""
        text = str(location)
        filesystem, path = fs.FileSystem.from_uri(
            text if "://" in text else str(Path(text).resolve())
        )
        return cls(filesystem, path)

    @property
    def local(self) -> Path | None:
        """The folder as a local path, or None when it lies elsewhere."""
        return Path(self.path) if isinstance(self.filesystem, fs.LocalFileSystem) else None

    @property
    def name(self) -> str:
        return self.path.rstrip("/").rsplit("/", 1)[-1]

    def child(self, *names: str) -> "Folder":
        """Folder below this one. Raises ConfigError for a name that leads elsewhere."""
        for name in names:
            self._check_below(name)
        return Folder(self.filesystem, "/".join((self.path.rstrip("/"), *names)))

    def exists(self) -> bool:
        return bool(self.filesystem.get_file_info(self.path).type == fs.FileType.Directory)

    def read(self, name: str) -> bytes | None:
        """Content of a file, or None if it is not there. Raises ConfigError as `child`."""
        self._check_below(name)
        try:
            with self.filesystem.open_input_stream(f"{self.path}/{name}") as stream:
                return cast(bytes, stream.read())
        except FileNotFoundError:
            return None

    def state_of(self, name: str) -> tuple[int, int | None] | None:
        """Size in bytes and time of the last change (in ns, where the filesystem knows it) of a
        file, by which a change is seen without reading it; None if it is not there. Raises
        ConfigError as `child`."""
        self._check_below(name)
        found = self.filesystem.get_file_info(f"{self.path}/{name}")
        return (found.size, found.mtime_ns) if found.type == fs.FileType.File else None

    def write(self, name: str, content: bytes) -> None:
        """Write a file whole: a reader sees the old content or the new, never half of it.

        A slash in the name leads into folders, which are made. Raises ConfigError as `child`.
        """
        self._check_below(name)
        parent, _, own = f"{self.path}/{name}".rpartition("/")
        temporary = f"{parent}/.{own}.{uuid.uuid4().hex[:8]}"
        self.filesystem.create_dir(parent, recursive=True)
        try:
            with self.filesystem.open_output_stream(temporary) as stream:
                stream.write(content)
            self.filesystem.move(temporary, f"{parent}/{own}")
        except OSError:
            if self.filesystem.get_file_info(temporary).type == fs.FileType.File:
                self.filesystem.delete_file(temporary)
            raise

    def delete(self, name: str) -> None:
        """Delete a file if it is there. Raises ConfigError as `child`."""
        self._check_below(name)
        if self.filesystem.get_file_info(f"{self.path}/{name}").type == fs.FileType.File:
            self.filesystem.delete_file(f"{self.path}/{name}")

    def drop_unfinished(self, before_ns: int) -> None:
        """Delete the temporary files of `write` that were last written before a time by the
        storage's own clock: their writers were killed. Those of other users may have to stay.
        """
        for found in self.listed():
            is_old = found.mtime_ns is not None and found.mtime_ns < before_ns
            if is_old and found.type == fs.FileType.File and _UNFINISHED.fullmatch(found.base_name):
                with contextlib.suppress(PermissionError, FileNotFoundError):
                    self.filesystem.delete_file(found.path)

    def delete_all(self) -> None:
        """Delete the folder and everything in it, if it is there."""
        if self.exists():
            self.filesystem.delete_dir(self.path)

    def files(self) -> list[str]:
        """Names of the files in the folder, sorted; temporary ones left out."""
        return self._names(fs.FileType.File)

    def folders(self) -> list[str]:
        """Names of the folders in the folder, sorted; temporary ones left out."""
        return self._names(fs.FileType.Directory)

    def files_below(self) -> list[str]:
        """Paths of all files in the folder and below it, as seen from it, sorted; without temporary
        ones."""
        found = [info for info in self.listed(recursive=True) if info.type == fs.FileType.File]
        return sorted(
            info.path.removeprefix(f"{self.path}/")
            for info in found
            if not info.base_name.startswith(".")
        )

    def take_back(self, names: Collection[str]) -> None:
        """Delete files that were written, what an interrupted `write` of theirs has left, and the
        folder, unless a file of somebody else is in it.

        Args:
            names: paths as `write` takes them.
        """
        is_empty = True
        for found in self.listed(recursive=True):
            if found.type != fs.FileType.File:
                continue
            own = found.base_name
            parent = found.path.removeprefix(f"{self.path}/").removesuffix(own)
            if _UNFINISHED.fullmatch(own):
                own = own.removeprefix(".").rpartition(".")[0]
            if f"{parent}{own}" in names:
                self.filesystem.delete_file(found.path)
            else:
                is_empty = False
        if is_empty:
            self.delete_all()

    def _check_below(self, name: str) -> None:
        """Names come from files that anybody may have written: none may lead out of the folder."""
        if name.startswith("/") or "\0" in name or {"", ".", ".."} & set(name.split("/")):
            raise ConfigError(f"{name!r} names no file or folder below {self.path}")

    def listed(self, *, recursive: bool = False) -> list[Any]:
        """What pyarrow says of everything in the folder, temporary files included; nothing where it
        is not there. `recursive`: also of what is in the folders below it."""
        selector = fs.FileSelector(self.path, allow_not_found=True, recursive=recursive)
        try:
            return cast(list[Any], self.filesystem.get_file_info(selector))
        except FileNotFoundError:
            # A folder that another process makes between pyarrow's listing, which misses it, and
            # its look whether the folder is there: told as missing although it may be missing.
            return cast(list[Any], self.filesystem.get_file_info(selector))

    def _names(self, kind: Any) -> list[str]:
        return sorted(
            i.base_name for i in self.listed() if i.type == kind and not i.base_name.startswith(".")
        )

    def upload(self, source: Path, name: str, last: str, *, gives_up: bool = False) -> None:
        """Copy a local folder to `name`. The file `last`, which marks it complete, is copied after
        all others.

        Locally the copy is made under a temporary name and renamed, and what killed processes have
        left of theirs is removed; object stores cannot rename folders.

        `gives_up`: the caller deletes the source next, and writes to no file of it before that. On
        one file system the files are then the source's own, and no byte is written twice.
        """
        target = self.child(name)
        staging = self.child(staging_name(name)) if self.local else target
        if self.local:
            sweep(self.local)
        try:
            staging.filesystem.create_dir(staging.path, recursive=True)
            for file in sorted(source.iterdir(), key=lambda f: (f.name == last, f.name)):
                self._store_file(file, f"{staging.path}/{file.name}", gives_up)
            if self.local:
                Path(staging.path).replace(target.path)
        except OSError:
            staging.delete_all()
            raise

    def _store_file(self, file: Path, target: str, gives_up: bool) -> None:
        if self.local:
            if gives_up and _link(file, Path(target)):
                return
            shutil.copyfile(file, target)
            return
        with file.open("rb") as source, self.filesystem.open_output_stream(target) as sink:
            shutil.copyfileobj(source, sink, 16 * 1024 * 1024)

    def download(self, target: Path) -> Path:
        """Local copy of the folder in `target` (made afresh); the folder itself when it is local
        already."""
        if self.local:
            return self.local
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        local = fs.LocalFileSystem()
        fs.copy_files(
            self.path, str(target), source_filesystem=self.filesystem, destination_filesystem=local
        )
        return target


def _link(file: Path, target: Path) -> bool:
    """Make the target another name of a file; False where that cannot be: on another file system,
    or one without links."""
    try:
        os.link(file, target)
    except OSError:
        return False
    return True
