"""What a run reads: prepared images, weights and lists of names. Found by the launcher, and found
again, or brought, where the run trains."""

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rml_platform.run.faults.outages import through_outages
from rml_platform.run.files.input_store import InputStore, OnNote
from rml_platform.run.task import RunTask, StoredInput
from rml_trainers.data.prepared import source_record
from rml_trainers.data.prepared.manifest import Manifest
from rml_trainers.errors import ConfigError, DataError

PREPARED = "prepared"
WEIGHTS = ("network.weights_file", "peer_network.weights_file")
LISTS = ("split.labelled_list", "split.unlabelled_list")
HASH_DIGITS = 16


@dataclass(frozen=True, kw_only=True)
class LocalInput:
    """An input as the launcher has it."""

    stored: StoredInput

    @property
    def path(self) -> Path:
        """A folder of prepared images, or a file."""
        return Path(self.stored.place)

    @property
    def files(self) -> dict[str, Path]:
        """What travels of it, by name."""
        if self.path.is_file():
            return {self.path.name: self.path}
        # Which source files it was made from is the launcher's affair.
        return {
            file.name: file
            for file in sorted(self.path.iterdir())
            if file.is_file() and file.name != source_record.FILE and not file.is_symlink()
        }


class InputFinder:
    """Finds what runs read on the machine that launches them. A file is hashed once, however many
    runs read it."""

    def __init__(self) -> None:
        self._names: dict[Path, str] = {}

    def inputs_of(self, task: RunTask) -> tuple[LocalInput, ...]:
        """What a run reads.

        Raises:
            DataError: its prepared images are not there.
            ConfigError: a file of its configuration is not there.
        """
        prepared = task.prepared_path.resolve()
        found = [_local(PREPARED, self._set_name(prepared), prepared)]
        config = json.loads(task.config_json)
        root = Path(task.data_root) if task.data_root else None
        for role in (*WEIGHTS, *LISTS):
            text = _value(config, role)
            if text is None:
                continue
            # As the trainers look for them: lists under the data root first.
            roots = [root, Path()] if role in LISTS and root is not None else [Path()]
            path = _first_file((place / Path(text).expanduser() for place in roots), role, text)
            found.append(_local(role, self._file_name(path), path))
        return tuple(found)

    def _set_name(self, folder: Path) -> str:
        if folder not in self._names:
            manifest = Manifest.read(folder)
            self._names[folder] = f"{manifest.name}-{manifest.content_hash}"
        return self._names[folder]

    def _file_name(self, path: Path) -> str:
        if path not in self._names:
            self._names[path] = f"{path.stem}-{_file_hash(path)}"
        return self._names[path]


@contextlib.contextmanager
def on_this_node(task: RunTask, on_note: OnNote) -> Iterator[RunTask]:
    """The task with the paths of this node: what is in place is used there, the rest is brought to
    the node's cache, which keeps it while the context is open.

    Raises:
        DataError: an input is neither here nor in the storage, or is damaged there.
        NodeDiskError: it finds no room on this node, or nothing can be written there.
        OSError: the storage cannot be read.
    """
    with contextlib.ExitStack() as stack:
        for stored in task.inputs:
            path = in_place(stored)
            if path is None:
                path = stack.enter_context(_brought(task, stored, on_note))
            task = _placed(task, stored.role, path)
        yield task


def in_place(stored: StoredInput) -> Path | None:
    """Where an input lies on this machine as it does on the launcher's, with the same content."""
    path = Path(stored.place)
    if stored.role == PREPARED:
        return path if _has_manifest_of(path, stored) else None
    return path if path.is_file() and _file_hash(path) == stored.content_hash else None


def _has_manifest_of(folder: Path, stored: StoredInput) -> bool:
    try:
        return Manifest.read(folder).content_hash == stored.content_hash
    except (DataError, OSError):
        return False


@contextlib.contextmanager
def _brought(task: RunTask, stored: StoredInput, on_note: OnNote) -> Iterator[Path]:
    # Here, because its locks are those of POSIX, which a machine without a cluster does without.
    from rml_platform.run.files.node_cache import NodeCache

    store = InputStore(task.storage)
    index = through_outages(lambda: store.index(stored.name))
    if index is None:
        raise DataError(
            f"{stored.role}: {stored.name} is neither on this node nor in {store.place}. Launch "
            "again: it is stored where a node lacks it"
        )
    size = sum(file.size for file in index.values())
    names = sorted(index)

    def bring(folder: Path) -> None:
        store.fetch(stored.name, index, folder, on_note)

    def wait() -> None:
        on_note(f"waiting for another run of this node, which brings {stored.name} or makes room")

    with NodeCache.of_this_node().holding(stored.name, size, bring, wait) as folder:
        yield folder if stored.role == PREPARED else folder / names[0]


def _placed(task: RunTask, role: str, path: Path) -> RunTask:
    if role == PREPARED:
        return dataclasses.replace(task, prepared_folder=str(path))
    config = json.loads(task.config_json)
    block, _, key = role.partition(".")
    config[block][key] = str(path)
    return dataclasses.replace(task, config_json=json.dumps(config, allow_nan=False))


def _value(config: Mapping[str, Any], role: str) -> str | None:
    block, _, key = role.partition(".")
    value = (config.get(block) or {}).get(key)
    return None if value is None else str(value)


def _first_file(places: Iterable[Path], role: str, text: str) -> Path:
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise ConfigError(f"{role} = {text!r}: no such file on this machine")
    return path.resolve()


def _local(role: str, name: str, path: Path) -> LocalInput:
    return LocalInput(stored=StoredInput(role=role, name=name, place=str(path)))


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:HASH_DIGITS]
