"""Records of finished runs in one zip file: everything that tells what happened, without networks.

A grid of hundreds of runs is some megabytes of records. Who has the file can make every table,
figure and report of it again, and can train the runs that it lacks: a launch takes the runs that
are in it as done. The same records give the same inner file, whenever and wherever they are packed,
and the same archive where liblzma is the same.
"""

import contextlib
import json
import lzma
import re
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rml_dashboards.contract.names import PLAIN_NAME, RUN_ID
from rml_dashboards.contract.run_folder import (
    HEARTBEAT_FILE,
    PIECES,
    PREDICTIONS,
    RESULT_FILE,
    RUNS,
    STUDIES,
    TASK_FILE,
)
from rml_dashboards.contract.uris import without_secrets
from rml_platform.run.files.zip_writing import plain_entry, written_zip
from rml_platform.run.run_folder import RunFolder
from rml_platform.run.storage import Folder
from rml_trainers.errors import ConfigError, is_disk_full

FILES = (TASK_FILE, "log.txt", HEARTBEAT_FILE, RESULT_FILE)
"""Files of a run that are packed; its configuration is in its task. What belongs to a machine stays
there: claims, and what an MLflow store has of it."""
FOLDERS = (PIECES, PREDICTIONS, STUDIES)
INNER = "records.zip"
"""The one entry of an archive: a zip file of the records, which are not compressed one by one,
because equal rows of many runs are what takes the space; LZMA needs half of deflate's. Older
archives are deflated, the oldest are the inner file."""
MAX_INNER_BYTES = 2**32
MAX_FILE_BYTES = 64 * 2**20
"""Of one file in an archive: records are small, and a larger one would fill the memory."""
ELSEWHERE: dict[str, Any] = {"data_root": None, "inputs": []}
"""Parts of a task that are paths of the machine it was made on."""
MOST_NAMED = 8
"""Runs that one error names."""
DAMAGES = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    UnicodeDecodeError,
    RuntimeError,
)
"""What `zipfile` raises where bytes of a file are wrong; RuntimeError where an entry seems to
need a password or a compression that it does not know."""
PLAN_NAME = re.compile(r"plan(-[A-Za-z0-9_.-]+)?\.json")


@dataclass(frozen=True, kw_only=True)
class Packed:
    """What was done with the runs of a call."""

    runs: tuple[str, ...]
    """Ids of those that were written."""
    left: tuple[str, ...]
    """Ids of those that were not: packing, they are not done; unpacking, they are there already."""


def pack_records(
    storage: str,
    run_ids: Sequence[str],
    plans: Sequence[tuple[str, bytes]],
    archive: Path,
    *,
    pictures_of: Sequence[Sequence[str]] = (),
) -> Packed:
    """Write the records of the runs that are done, and the plans that name them.

    Args:
        plans: path below an output folder (`studies/<study>/plan.json`) and content.
        archive: the zip file; one that is there is replaced, as a whole or not at all, and only
            where no run that it holds is lost.
        pictures_of: groups of run ids; the first of each that is done keeps the pictures of its
            predictions.
    Raises:
        ConfigError: no run is done, or the archive that is there holds another run or is none.
        DamagedFileError: a run's result cannot be read.
    """
    runs = [(run_id, RunFolder.of(storage, run_id)) for run_id in dict.fromkeys(run_ids)]
    done = [(run_id, run) for run_id, run in sorted(runs) if run.result() is not None]
    if not done:
        raise ConfigError(f"{storage}: none of the {len(runs)} runs is done, so there is no record")
    ids = tuple(run_id for run_id, _ in done)
    if archive.exists():
        _check_none_is_lost(archive, ids, storage)
    kept = {next((one for one in group if one in ids), "") for group in pictures_of}
    temporary = archive.with_name(f".{archive.name}.tmp")
    archive.parent.mkdir(parents=True, exist_ok=True)
    try:
        with written_zip(temporary, INNER) as packed:
            for path, content in sorted(plans):
                packed.writestr(plain_entry(path), content)
            for run_id, run in done:
                for path, content in _records_of(run, pictures=run_id in kept):
                    name = f"{RUNS}/{run_id}/{path}"
                    packed.writestr(plain_entry(name), content)
        temporary.replace(archive)
    finally:
        temporary.unlink(missing_ok=True)
    return Packed(runs=ids, left=tuple(sorted({run_id for run_id, _ in runs} - set(ids))))


def _check_none_is_lost(archive: Path, ids: Sequence[str], storage: str) -> None:
    """Raises ConfigError where an archive that is there has runs that are not among these, or where
    what it has is not known."""
    try:
        with opened_records(archive) as packed:
            there = {_owner(name) for name in packed.namelist()}
    except (*DAMAGES, OSError) as error:
        raise ConfigError(
            f"{archive}: is no readable archive of records and is not replaced: {error}. Move it "
            "away, or pack to another file"
        ) from error
    if None in there:
        raise ConfigError(
            f"{archive}: holds what is no record and is not replaced. Pack to another file"
        )
    lost = sorted(str(run_id) for run_id in there - {"", *ids})
    if lost:
        more = f" and {len(lost) - MOST_NAMED} more" if len(lost) > MOST_NAMED else ""
        raise ConfigError(
            f"{archive}: holds runs that are not done in {storage} or not of this study, and is "
            f"not replaced by an archive without them: {', '.join(lost[:MOST_NAMED])}{more}. Let a "
            "launch finish them, unpack it into another folder (--out) and pack from there, or "
            "pack to another file"
        )


def unpack_records(archive: Path, out: Path, storage: str) -> Packed:
    """Lay records where tables and launches look for them.

    A run that is done here already, with the same scores, is left as it is, and so is one that was
    begun here and is not done: its launch is not disturbed. Plans that are there stay.

    A run that an earlier call was killed over is completed.

    Raises:
        ConfigError: it is no such archive, it is damaged, a name in it leads elsewhere, a file is
            too large, or a run is done here with other scores: nothing was written then. Or a file
            cannot be laid here: its run was taken back then, and those before it are whole.
    """
    with contextlib.ExitStack() as stack:
        with _reading(archive):
            packed = stack.enter_context(opened_records(archive))
        names = _checked_names(archive, packed)
        _check_sums(archive, packed)
        fresh, left = _sorted_out(archive, packed, names, storage)
        for run_id in fresh:
            _lay(archive, packed, names[run_id], RunFolder.of(storage, run_id), storage)
        for name in names.get("", ()):
            content = _content(archive, packed, name)
            with _at_place(str(out), name):
                place = Folder.open(out)
                if place.read(name) is None:
                    place.write(name, content)
    return Packed(runs=tuple(fresh), left=tuple(left))


def _lay(
    archive: Path, packed: zipfile.ZipFile, names: Sequence[str], run: RunFolder, storage: str
) -> None:
    """Lay one run, or complete what a killed call has left of it. Whatever else ends it, nothing
    stays of what it wrote, so that the run does not look begun."""
    with _at_place(storage, f"{RUNS}/{run.run_id}"):
        there = set(run.folder.files_below())
    written = list[str]()
    try:
        # The result last: a run that has one is done.
        for name in sorted(names, key=lambda one: (one.endswith(f"/{RESULT_FILE}"), one)):
            content = _content_here(archive, packed, name, run, storage)
            own = _below(run, name)
            if own not in there:
                written.append(own)
            with _at_place(storage, name):
                run.folder.write(own, content)
    except BaseException:
        # What ended it is told; a storage that is away keeps what a later call completes.
        with contextlib.suppress(OSError):
            run.folder.take_back(written)
        raise


@contextlib.contextmanager
def _reading(archive: Path) -> Iterator[None]:
    """Nothing but the archive is read in the context. Raises ConfigError where it is damaged."""
    try:
        yield
    except (*DAMAGES, OSError) as error:
        raise ConfigError(f"{archive}: not a readable archive of records: {error}") from error


@contextlib.contextmanager
def _at_place(place: str, name: str) -> Iterator[None]:
    """A file is looked for or laid below a storage in the context. Raises ConfigError where the
    storage does not let it."""
    try:
        yield
    except OSError as error:
        advice = "The disk is full: free some space" if is_disk_full(error) else "Mend that"
        what = without_secrets(f"{place}: {name} cannot be laid here: {error}")
        raise ConfigError(f"{what}. {advice} and unpack again; whole runs stay") from error


def _content(archive: Path, packed: zipfile.ZipFile, name: str) -> bytes:
    with _reading(archive):
        return packed.read(name)


def _content_here(
    archive: Path, packed: zipfile.ZipFile, name: str, run: RunFolder, storage: str
) -> bytes:
    """Content of an entry as it lies in a storage."""
    content = _content(archive, packed, name)
    return _placed(content, run, storage) if _below(run, name) == TASK_FILE else content


def _below(run: RunFolder, name: str) -> str:
    """Path of an entry below the folder of its run."""
    return name.removeprefix(f"{RUNS}/{run.run_id}/")


def _records_of(run: RunFolder, *, pictures: bool) -> Iterator[tuple[str, bytes]]:
    for folder in FOLDERS:
        if folder != PREDICTIONS or pictures:
            child = run.folder.child(folder)
            # Images in folders have their pictures in folders of the same names.
            for name in child.files_below() if folder == PREDICTIONS else child.files():
                yield f"{folder}/{name}", child.read(name) or b""
    for name in run.folder.files():
        if name in FILES:
            content = run.folder.read(name) or b""
            yield name, _placed(content, run, None) if name == TASK_FILE else content


def _placed(content: bytes, run: RunFolder, storage: str | None) -> bytes:
    """A task with its storage, None: with nothing of the machine that it was carried out on. Raises
    ConfigError where it is none."""
    try:
        task = json.loads(content)
        own = {**ELSEWHERE, "storage": storage or "", "prepared_folder": ""}
        if storage or not Path(task.get("prepared_folder", "")).is_absolute():
            own.pop("prepared_folder")
        task.update({key: value for key, value in own.items() if key in task})
    except (ValueError, AttributeError, TypeError) as error:
        raise ConfigError(f"{run.folder.path}/{TASK_FILE}: cannot be read: {error}") from error
    return json.dumps(task, indent=1).encode()


@contextlib.contextmanager
def opened_records(archive: Path) -> Iterator[zipfile.ZipFile]:
    """The zip file of the records in an archive. Raises ConfigError where it is too large, or the
    disk with the temporary folder is full."""
    with zipfile.ZipFile(archive) as outer:
        if outer.namelist() != [INNER]:
            yield outer
            return
        size = outer.getinfo(INNER).file_size
        if size > MAX_INNER_BYTES:
            raise ConfigError(
                f"{archive}: {INNER} in it has {size:,} bytes, and at most {MAX_INNER_BYTES:,} are "
                "unpacked"
            )
        # Its entries are read in any order, which a compressed one is too slow for.
        with tempfile.TemporaryFile() as laid, outer.open(INNER) as packed:
            try:
                shutil.copyfileobj(packed, laid)
            except OSError as error:
                if not is_disk_full(error):
                    raise
                raise ConfigError(
                    f"{tempfile.gettempdir()}: no room for the {size:,} bytes that {archive} "
                    f"unpacks to: {error}. Free some space, or name another folder in TMPDIR"
                ) from error
            with zipfile.ZipFile(laid) as inner:
                yield inner


def _checked_names(archive: Path, packed: zipfile.ZipFile) -> dict[str, list[str]]:
    """Names of entries by run id; plans are under the empty id."""
    names = dict[str, list[str]]()
    for entry in packed.infolist():
        owner = _owner(entry.filename)
        if owner is None or entry.comment:  # a wrong length makes entries a comment of another
            raise ConfigError(f"{archive}: {entry.filename!r} is no record of a run or study")
        if entry.file_size > MAX_FILE_BYTES:
            raise ConfigError(
                f"{archive}: {entry.filename} has {entry.file_size:,} bytes, and records have at "
                f"most {MAX_FILE_BYTES:,}"
            )
        names.setdefault(owner, []).append(entry.filename)
    for run_id in names.keys() - {""}:
        for file in (TASK_FILE, RESULT_FILE):
            if f"{RUNS}/{run_id}/{file}" not in names[run_id]:
                raise ConfigError(f"{archive}: {file} of run {run_id} is missing")
    return names


def _check_sums(archive: Path, packed: zipfile.ZipFile) -> None:
    """Before anything is written: no run is laid of an archive that is damaged further on."""
    with _reading(archive):
        damaged = packed.testzip()
    if damaged is not None:
        raise ConfigError(
            f"{archive}: not a readable archive of records: {damaged} in it is damaged; copy it "
            "again or pack it again"
        )


def _owner(name: str) -> str | None:
    """Run id of an entry, empty for a plan; None for what does not belong into such an archive."""
    match name.split("/"):
        case ["studies", study, file] if PLAIN_NAME.fullmatch(study) and PLAN_NAME.fullmatch(file):
            return ""
        case ["runs", run_id, file] if RUN_ID.fullmatch(run_id) and file in FILES:
            return run_id
        case ["runs", run_id, folder, *below] if RUN_ID.fullmatch(run_id) and folder in FOLDERS:
            is_deep_enough = len(below) == 1 or (folder == PREDICTIONS and below)
            is_plain = not {"", ".", ".."} & set(below) and "\\" not in name
            return run_id if is_deep_enough and is_plain else None
    return None


def _sorted_out(
    archive: Path, packed: zipfile.ZipFile, names: dict[str, list[str]], storage: str
) -> tuple[list[str], list[str]]:
    """Ids of the runs to write, and of those that stay as they are here."""
    fresh = list[str]()
    left = list[str]()
    for run_id in sorted(names.keys() - {""}):
        run = RunFolder.of(storage, run_id)
        result = f"{RUNS}/{run_id}/{RESULT_FILE}"
        theirs = _scores(archive, _content(archive, packed, result), run_id)
        with _at_place(storage, result):
            ours = run.folder.read(RESULT_FILE)
        if ours is not None and _scores(Path(run.folder.path), ours, run_id) != theirs:
            raise ConfigError(
                f"{archive}: run {run_id} is done in {storage} with other scores; unpack into "
                f"another folder (--out) and compare the two"
            )
        is_here = ours is not None or _is_begun(archive, packed, names[run_id], run, storage)
        (left if is_here else fresh).append(run_id)
    return fresh, left


def _is_begun(
    archive: Path, packed: zipfile.ZipFile, names: Sequence[str], run: RunFolder, storage: str
) -> bool:
    """Whether a run without a result was begun here: it has files that are not the archive's. Where
    all are, a call was killed while it laid them."""
    entries = {_below(run, name): name for name in names}
    with _at_place(storage, f"{RUNS}/{run.run_id}"):
        there = run.folder.files_below()
    if any("/" not in own and own not in entries for own in there):
        return True
    for own in (own for own in there if own in entries):
        theirs = _content_here(archive, packed, entries[own], run, storage)
        with _at_place(storage, entries[own]):
            ours = run.folder.read(own) or b""
        if ours != theirs and not (own == TASK_FILE and _is_same_task(ours, theirs, run, storage)):
            return True
    return False


def _is_same_task(ours: bytes, theirs: bytes, run: RunFolder, storage: str) -> bool:
    """Whether two tasks differ at most in how the storage was named."""
    try:
        return _placed(ours, run, storage) == theirs
    except ConfigError:  # damaged, and so not what an archive had
        return False


def _scores(source: Path, content: bytes, run_id: str) -> Any:
    try:
        return json.loads(content)["evaluations"]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{source}: the result of run {run_id} cannot be read: {error}"
        ) from error
