"""Names, times and contents of the files of runs, on this machine or on any pyarrow file system.

Every name is taken from a listing and compared with what was asked for; no path is put together
from a request. On this machine a link that leads elsewhere counts as absent, so nothing outside
`<storage>/runs/` can be read.
"""

import itertools
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pyarrow import ArrowException, fs

from rml_dashboards.contract.run_folder import RUNS
from rml_dashboards.contract.uris import without_secrets
from rml_dashboards.errors import DashboardError

T = TypeVar("T")
Stamp = int | None
"""Time of the last change of a folder, in ns; None where the file system does not tell."""
Files = Mapping[str, tuple[int, int]]
"""Name → time of the last change in ns, bytes."""
MAX_BYTES = 64 * 2**20
"""No file of a run that is shown is as large; a larger one counts as absent."""
_PLAIN = re.compile(r"[^/\\\x00]+")


class RunStorage:
    """The folders `<storage>/runs/<run id>/`, read only."""

    def __init__(self, storage: str) -> None:
        """`storage`: a path, or a URI that pyarrow understands. Raises DashboardError."""
        text = storage if "://" in storage else str(Path(storage).resolve())
        self.shown = without_secrets(storage)
        try:
            self._filesystem, path = fs.FileSystem.from_uri(text)
        except (ArrowException, OSError, ValueError) as error:
            raise DashboardError(
                without_secrets(f"the storage {storage} cannot be opened: {error}")
            ) from error
        self._root = path.rstrip("/")
        self._runs = f"{self._root}/{RUNS}"
        self.is_local = isinstance(self._filesystem, fs.LocalFileSystem)

    def stamps(self) -> dict[str, Stamp]:
        """Every run that has a folder, with the time of the folder's last change."""
        if self.is_local:
            return self._reading(self._local_stamps)
        found = self._reading(lambda: self._listed(self._runs))
        return {info.base_name: None for info in found if info.type == fs.FileType.Directory}

    def _local_stamps(self) -> dict[str, Stamp]:
        try:
            with os.scandir(self._runs) as entries:
                return {
                    entry.name: entry.stat(follow_symlinks=False).st_mtime_ns
                    for entry in entries
                    if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")
                }
        except FileNotFoundError:
            return {}

    def files(self, run_id: str, *folders: str) -> Files:
        """Files of a run's folder, or of a folder in it, by name."""
        path = self._path(run_id, *folders)
        if path is None:
            return {}
        if self.is_local:
            return self._reading(lambda: _local_files(path))
        return {
            info.base_name: (info.mtime_ns or 0, info.size or 0)
            for info in self._reading(lambda: self._listed(path))
            if info.type == fs.FileType.File
        }

    def names_below(self, run_id: str, folder: str) -> list[str]:
        """Files below a folder of a run, in folders of its too, as `city/image.png`; links and
        hidden names are left out."""
        path = self._path(run_id, folder)
        if path is None:
            return []
        if self.is_local:
            return self._reading(lambda: sorted(_names_below(Path(path))))
        selector = fs.FileSelector(path, allow_not_found=True, recursive=True)
        found = self._reading(lambda: self._filesystem.get_file_info(selector))
        names = [
            info.path.removeprefix(f"{path}/") for info in found if info.type == fs.FileType.File
        ]
        return sorted(name for name in names if not _is_hidden(name))

    def read(self, run_id: str, *names: str) -> bytes | None:
        """Content of a file; None where there is none, or one too large to be of a run.

        Raises:
            DashboardError: the storage cannot be read at all.
        """
        path = self._path(run_id, *names)
        if path is None:
            return None

        def content() -> bytes | None:
            try:
                with self._filesystem.open_input_file(path) as file:
                    return bytes(file.read()) if file.size() <= MAX_BYTES else None
            except (FileNotFoundError, IsADirectoryError):
                return None

        return self._reading(content)

    def _path(self, *names: str) -> str | None:
        """Path below `runs/`; None where a name is no plain one, or a link on the way leads
        elsewhere."""
        if any(not _PLAIN.fullmatch(name) or name.startswith(".") for name in names):
            return None
        parts = list(
            itertools.accumulate((self._runs, *names), lambda path, name: f"{path}/{name}")
        )
        if self.is_local and any(Path(part).is_symlink() for part in parts[1:]):
            return None
        return parts[-1]

    def _listed(self, path: str) -> list[Any]:
        found = self._filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True))
        return [info for info in found if not info.base_name.startswith(".")]

    def _reading(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except (ArrowException, OSError) as error:
            raise DashboardError(
                without_secrets(f"the run folders under {self.shown} cannot be read: {error}")
            ) from error


def _local_files(path: str) -> Files:
    try:
        with os.scandir(path) as entries:
            found = {
                entry.name: entry.stat(follow_symlinks=False)
                for entry in entries
                if entry.is_file(follow_symlinks=False) and not entry.name.startswith(".")
            }
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return {name: (stat.st_mtime_ns, stat.st_size) for name, stat in found.items()}


def _names_below(folder: Path) -> Iterator[str]:
    for path, folders, files in os.walk(folder):  # follows no links
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            file = Path(path) / name
            if not name.startswith(".") and not file.is_symlink():
                yield file.relative_to(folder).as_posix()


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))
