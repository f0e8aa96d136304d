"""Which checkpoint a run goes on from, whatever happened to the newest one."""

import errno
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from pyarrow import fs

from rml_platform.run.attempt import Attempt, WorkerContext
from rml_platform.run.checkpoints import CheckpointStore
from rml_platform.run.faults import outages
from rml_platform.run.faults.outages import through_outages
from rml_platform.run.shared_stages import StageEnds, mark_shared
from rml_platform.run.storage import Folder
from rml_trainers.checkpoint.folder import Checkpoint, CheckpointHeader, save_checkpoint
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.errors import CheckpointError
from tests.support.platform.tasks import task_for
from tests.support.tiny import tiny_config


@pytest.fixture(params=["local", "remote"])
def run_folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    root = tmp_path / "store"
    root.mkdir()
    if request.param == "local":
        return Folder.open(root / "run")
    return Folder(fs.SubTreeFileSystem(str(root), fs.LocalFileSystem()), "run")


@pytest.fixture
def store(run_folder: Folder) -> CheckpointStore:
    return CheckpointStore(run_folder, "launch-1")


def made(folder: Path, step: int) -> Path:
    """A real checkpoint folder of a step."""
    nothing: dict[str, torch.Tensor] = {}
    weights = {"1.weight": torch.full((64,), float(step))}
    header = CheckpointHeader(step=step, finished=False, identity="x")
    shutil.rmtree(folder / "new", ignore_errors=True)
    save_checkpoint(
        folder / "new",
        Checkpoint(
            header=header,
            students=weights,
            teachers=nothing,
            optimiser=nothing,
            extras=nothing,
            evaluations=(),
        ),
    )
    return folder / "new"


def files_of(store: CheckpointStore, tmp_path: Path) -> dict[int, Path]:
    """Where the checkpoints lie on this disk, by step."""
    return {
        int(path.name.split("_")[1]): path
        for path in (tmp_path / "store").rglob("checkpoint_*")
        if path.is_dir()
    }


def test_only_the_newest_two_are_kept(store: CheckpointStore, tmp_path: Path) -> None:
    for step in (10, 20, 30):
        store.save(step, 1, made(tmp_path, step))
    assert [c.step for c in store.stored()] == [20, 30]
    found = store.newest_sound(tmp_path / "scratch", pytest.fail)
    assert found is not None
    assert found.step == 30


def test_without_checkpoints_there_is_nothing_to_resume(
    store: CheckpointStore, tmp_path: Path
) -> None:
    assert store.newest_sound(tmp_path / "scratch", pytest.fail) is None


@pytest.mark.parametrize("damage", ["cut in half", "changed", "file missing", "manifest missing"])
def test_a_damaged_one_is_told_and_the_one_before_is_used(
    store: CheckpointStore, tmp_path: Path, damage: str
) -> None:
    for step in (10, 20):
        store.save(step, 1, made(tmp_path, step))
    weights = files_of(store, tmp_path)[20] / "students.safetensors"
    content = weights.read_bytes()
    if damage == "cut in half":
        weights.write_bytes(content[: len(content) // 2])
    elif damage == "changed":
        weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "file missing":
        weights.unlink()
    else:
        (weights.parent / "manifest.json").unlink()
    told: list[str] = []
    found = store.newest_sound(tmp_path / "scratch", told.append)
    assert found is not None
    assert found.step == 10
    assert len(told) == 1
    assert "step 20" in told[0]
    store.discard_newer_than(10)
    assert [c.step for c in store.stored()] == [10]


def away_twice(
    monkeypatch: pytest.MonkeyPatch, file: str = "manifest.json", number: int = errno.ESTALE
) -> None:
    """A file of a checkpoint cannot be read the first two times."""
    monkeypatch.setattr(outages, "FIRST_PAUSE_S", 0.0)
    opened = Path.open
    is_file = Path.is_file
    tries: list[Path] = []

    def open_(self: Path, *args: Any, **options: Any) -> Any:
        if self.name == file:
            tries.append(self)
            if len(tries) <= 2:
                raise OSError(number, os.strerror(number))
        return opened(self, *args, **options)

    def is_file_now(self: Path) -> bool:
        """As Python 3.14 has it, for which what cannot be looked at is no file."""
        return is_file(self) and (self.name != file or len(tries) >= 2)

    monkeypatch.setattr(Path, "open", open_)
    monkeypatch.setattr(Path, "is_file", is_file_now)


@pytest.mark.parametrize("file", ["manifest.json", "students.safetensors", "state.json"])
def test_one_that_an_outage_hides_is_waited_for_and_not_taken_for_damaged(
    store: CheckpointStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    for step in (10, 20):
        store.save(step, 1, made(tmp_path, step))
    away_twice(monkeypatch, file)
    found = through_outages(lambda: store.newest_sound(tmp_path / "scratch", pytest.fail))
    assert found is not None
    assert found.step == 20


@pytest.mark.parametrize("file", ["manifest.json", "students.safetensors"])
@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOMEM, errno.EACCES])
def test_one_that_cannot_be_read_is_not_taken_for_damaged(
    store: CheckpointStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, number: int
) -> None:
    store.save(10, 1, made(tmp_path, 10))
    away_twice(monkeypatch, file, number)
    with pytest.raises(OSError, match=re.escape(os.strerror(number))):
        store.newest_sound(tmp_path / "scratch", pytest.fail)


def test_a_shared_stage_that_an_outage_hides_stays_and_is_taken_over(
    tiny_data: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("iml", "rml")
    tasks = mark_shared([task_for(tiny_config(n), tiny_data, tmp_path, n) for n in names])
    maker, taker = (Attempt(task, WorkerContext(writer="launch-1")) for task in tasks)
    (step,) = (
        end.step for end in StageEnds().of(tasks[0]) if end.history in tasks[0].shared_stages
    )
    maker.shared_stages.leave(step, made(tmp_path, step))
    assert taker.outcome_so_far() is None
    away_twice(monkeypatch)
    found = taker.shared_stage(tmp_path / "scratch")
    assert found is not None
    assert taker.shared_stages.step_of(found.name) == step
    assert taker.warnings == []


def test_a_full_disk_is_one_clear_error_and_the_checkpoint_before_stays(
    store: CheckpointStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.save(10, 1, made(tmp_path, 10))

    def full(self: Folder, file: Path, target: str, gives_up: bool) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Folder, "_store_file", full)
    with pytest.raises(CheckpointError, match=r"step 20 .*No space left.* before it is intact"):
        store.save(20, 1, made(tmp_path, 20))
    monkeypatch.undo()
    found = store.newest_sound(tmp_path / "scratch", pytest.fail)
    assert found is not None
    assert found.step == 10


def test_checkpoints_of_earlier_launches_serve_until_there_are_two_new_ones(
    run_folder: Folder, store: CheckpointStore, tmp_path: Path
) -> None:
    for step in (10, 20):
        store.save(step, 1, made(tmp_path, step))
    later = CheckpointStore(run_folder, "launch-2")
    later.save(30, 2, made(tmp_path, 30))
    assert [c.step for c in later.stored()] == [20, 30]
    later.save(40, 2, made(tmp_path, 40))
    assert [c.step for c in later.stored()] == [30, 40]
    assert later.folder.folders() == ["launch-2"]
