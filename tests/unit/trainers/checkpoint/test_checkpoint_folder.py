"""Checkpoint folders: complete, unchanged and of the right run, or refused."""

import errno
import hashlib
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError

import rml_trainers.checkpoint.folder as state_module
from rml_trainers.checkpoint.folder import (
    Checkpoint,
    CheckpointHeader,
    load_checkpoint,
    save_checkpoint,
    verify_checkpoint,
)
from rml_trainers.errors import CheckpointError
from rml_trainers.scoring.score import Evaluation


def _checkpoint() -> Checkpoint:
    evaluation = Evaluation(
        protocol="p/teacher_1/last",
        network="teacher_1",
        scores={
            "miou": 0.1 + 0.2,
            "accuracy": 1 / 3,
            "iou/road": 0.5,
            "iou/sky": float("nan"),
        },
        confusion=np.array([[3, 1], [0, 2]]),
    )
    return Checkpoint(
        header=CheckpointHeader(step=7, finished=False, identity="abc"),
        students={"1.weight": torch.randn(3, 2)},
        teachers={"1.weight": torch.randn(3, 2)},
        optimiser={"0": torch.randn(4)},
        extras={
            "meter/count": torch.tensor(2.0, dtype=torch.float64),
            "method/seen": torch.tensor([True, False]),
        },
        evaluations=(evaluation,),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "checkpoint-7", _checkpoint())
    return tmp_path / "checkpoint-7"


def test_what_is_saved_comes_back_bit_by_bit(tmp_path: Path) -> None:
    saved = _checkpoint()
    save_checkpoint(tmp_path / "c", saved)
    loaded = load_checkpoint(tmp_path / "c", "abc")
    assert loaded.header == saved.header
    for part in ("students", "teachers", "optimiser", "extras"):
        mine = getattr(loaded, part)
        theirs = getattr(saved, part)
        assert mine.keys() == theirs.keys()
        assert all(
            torch.equal(mine[name], theirs[name]) and mine[name].dtype == theirs[name].dtype
            for name in mine
        )
    assert loaded.evaluations[0].miou == saved.evaluations[0].miou
    np.testing.assert_array_equal(loaded.evaluations[0].confusion, saved.evaluations[0].confusion)


@pytest.mark.parametrize("name", ["students.safetensors", "optimiser.safetensors", "state.json"])
def test_a_file_cut_in_half_is_found(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match=rf"damaged: {name}"):
        verify_checkpoint(folder)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"files": []}', '{"files": {}}', '{"files": {"state.j']
)
def test_a_manifest_that_is_none_is_found(folder: Path, content: str) -> None:
    (folder / "manifest.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"manifest\.json is damaged"):
        verify_checkpoint(folder)


@pytest.mark.parametrize("name", ["manifest.json", "teachers.safetensors"])
def test_a_missing_file_is_found(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=rf"incomplete: {name}"):
        load_checkpoint(folder)


def test_a_checkpoint_of_another_run_is_refused(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="belongs to another run"):
        load_checkpoint(folder, "another identity")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        SafetensorError("Error while serializing: I/O error: File too large (os error 27)"),
    ],
    ids=["disk", "quota", "size"],
)
def test_a_full_disk_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(*_: object) -> None:
        raise error

    monkeypatch.setattr(state_module, "save_file", full)
    with pytest.raises(CheckpointError, match="the disk is full"):
        save_checkpoint(tmp_path / "c", _checkpoint())
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("name", ["../secret.txt", "/etc/hostname", "sub/state.json", ".."])
def test_a_manifest_names_files_of_its_checkpoint_only(folder: Path, name: str) -> None:
    (folder.parent / "secret.txt").write_text("x")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = "0" * 64
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="no file of it"):
        verify_checkpoint(folder)


class Bomb:
    """Unpickled, it makes a folder."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return (os.mkdir, (str(self.made),))


@pytest.mark.parametrize(
    "name", ["students.safetensors", "optimiser.safetensors", "state.json", "manifest.json"]
)
def test_a_pickle_in_a_checkpoint_is_not_opened(folder: Path, tmp_path: Path, name: str) -> None:
    made = tmp_path / "made"
    (folder / name).write_bytes(pickle.dumps(Bomb(made)))
    manifest = folder / "manifest.json"
    if name != "manifest.json":  # as somebody would do it who knows the hashes
        content = json.loads(manifest.read_text())
        content["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        manifest.write_text(json.dumps(content))
    with pytest.raises(CheckpointError):
        load_checkpoint(folder)
    assert not made.exists()
