"""Checkpoint folders: weights as safetensors, the rest as JSON, a manifest with hashes written
last. No pickle.

students.safetensors   "1.<parameter>", "2.<parameter>": student networks
teachers.safetensors   the same names: mean teachers
optimiser.safetensors  momentum buffers
extras.safetensors     what the method keeps, its own networks, running sums of the report window,
                       and the networks of a chosen evaluation
state.json             step, final scores, identity of the run
manifest.json          sha256 of every other file
"""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from rml_trainers.errors import CheckpointError, is_disk_full
from rml_trainers.scoring.evaluation_json import evaluation_from_json, evaluation_to_json
from rml_trainers.scoring.score import Evaluation

_FORMAT = 1
ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
"""Errors of reading that say that there is no such file; any other says nothing about it."""


@dataclass(frozen=True, kw_only=True)
class CheckpointHeader:
    """What can be known of a checkpoint without loading its tensors."""

    step: int
    """Completed optimiser steps over all stages."""
    finished: bool
    identity: str
    """Hash of everything that can change the result; a checkpoint resumes only the run that made
    it."""
    beginning: str | None = None
    """At the end of a stage: hash of what the networks depend on up to here (see `stage_ends`)."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Everything that exact resume needs, in memory."""

    header: CheckpointHeader
    students: dict[str, Tensor]
    teachers: dict[str, Tensor]
    optimiser: dict[str, Tensor]
    extras: dict[str, Tensor]
    evaluations: tuple[Evaluation, ...]


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a complete checkpoint into a new folder; nothing of it is left behind when writing
    fails.

    Raises:
        CheckpointError: the disk is full or not writable. Earlier checkpoints are untouched.
    """
    try:
        folder.mkdir(parents=True, exist_ok=False)
        for group in ("students", "teachers", "optimiser", "extras"):
            tensors = {
                name: t.detach().cpu().contiguous()
                for name, t in getattr(checkpoint, group).items()
            }
            save_file(tensors, folder / f"{group}.safetensors")
        state = dataclasses.asdict(checkpoint.header) | {
            "evaluations": [evaluation_to_json(e) for e in checkpoint.evaluations]
        }
        (folder / "state.json").write_text(json.dumps(state, indent=1, allow_nan=False))
        files = {path.name: _sha256(path) for path in sorted(folder.iterdir())}
        (folder / "manifest.json").write_text(
            json.dumps({"format": _FORMAT, "files": files}, indent=1)
        )
    except (OSError, SafetensorError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        full = "the disk is full; free some space and start the run again"
        reason = full if is_disk_full(error) else str(error)
        raise CheckpointError(
            f"cannot write a checkpoint under {folder.parent}: {reason}. The last good one is kept"
        ) from error


@contextmanager
def published(folder: Path | None, make: Callable[[], Checkpoint]) -> Iterator[None]:
    """Write a checkpoint that lies in `folder` for the time of the block; without a folder do
    nothing.

    Raises:
        CheckpointError: as `save_checkpoint`.
    """
    if folder is None:
        yield
        return
    shutil.rmtree(folder, ignore_errors=True)
    save_checkpoint(folder, make())
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def verify_checkpoint(folder: Path) -> CheckpointHeader:
    """Check that every file is there and unchanged.

    Raises:
        CheckpointError: incomplete or damaged; names the file.
        OSError: a file cannot be read, which says nothing about what is in it.
    """
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
        files = {str(name): str(digest) for name, digest in manifest["files"].items()}
    except ABSENT as error:
        raise CheckpointError(
            f"checkpoint {folder.name} is incomplete: manifest.json is missing"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"checkpoint {folder.name}: manifest.json is damaged: {error}"
        ) from error
    if "state.json" not in files:
        raise CheckpointError(f"checkpoint {folder.name}: manifest.json is damaged: no state.json")
    for name, expected in files.items():
        if Path(name).name != name or name == "..":
            raise CheckpointError(
                f"checkpoint {folder.name}: manifest.json names {name!r}, which is no file of it"
            )
        try:
            found = _sha256(folder / name)
        # Not `is_file`, which from Python 3.14 on also says no where the storage is away.
        except ABSENT as error:
            raise CheckpointError(
                f"checkpoint {folder.name} is incomplete: {name} is missing"
            ) from error
        if found != expected:
            raise CheckpointError(
                f"checkpoint {folder.name} is damaged: {name} differs from its recorded hash"
            )
    try:
        state = json.loads((folder / "state.json").read_text())
        return CheckpointHeader(
            step=state["step"],
            finished=state["finished"],
            identity=state["identity"],
            beginning=state.get("beginning"),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"checkpoint {folder.name}: state.json is damaged: {error}"
        ) from error


def load_checkpoint(folder: Path, identity: str | None = None) -> Checkpoint:
    """Verify and read a checkpoint.

    Args:
        identity: refuse a checkpoint of another run.
    Raises:
        CheckpointError: damaged, incomplete, or of another run.
    """
    header = verify_checkpoint(folder)
    if identity is not None and header.identity != identity:
        raise CheckpointError(
            f"checkpoint {folder.name} belongs to another run (other configuration, split, data or "
            "trainer version)"
        )
    try:
        groups = {
            group: load_file(folder / f"{group}.safetensors")
            for group in ("students", "teachers", "optimiser", "extras")
        }
    except SafetensorError as error:
        raise CheckpointError(f"checkpoint {folder.name} holds no tensors: {error}") from error
    return Checkpoint(header=header, **groups, evaluations=_evaluations(folder))


def _evaluations(folder: Path) -> tuple[Evaluation, ...]:
    values = json.loads((folder / "state.json").read_text())["evaluations"]
    try:
        return tuple(evaluation_from_json(value) for value in values)
    except ValueError as error:
        raise CheckpointError(f"checkpoint {folder.name}: state.json: {error}") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
