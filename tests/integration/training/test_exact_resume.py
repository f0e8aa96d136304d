"""Killed with SIGKILL at any moment and resumed, a run ends with the same bits as the uninterrupted
one."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

PROGRAM = Path(__file__).parent / "resumable_run.py"


def start(
    folder: Path, *, workers: int = 1, kill_at: str = "never"
) -> subprocess.CompletedProcess[str]:
    """Run the tiny study in a process of its own; `kill_at` is `<step>` or `checkpoint:<step>`."""
    command = [sys.executable, str(PROGRAM), str(folder), kill_at]
    if workers > 1:
        port = str(20000 + os.getpid() % 20000)
        launcher = [
            "-m",
            "torch.distributed.run",
            f"--nproc-per-node={workers}",
            f"--master-port={port}",
        ]
        command = [sys.executable, *launcher, *command[1:]]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


def outcome(
    folder: Path,
) -> tuple[dict[str, "np.ndarray[tuple[int, ...], np.dtype[np.float32]]"], dict[str, object]]:
    weights: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]] = {}
    for part in ("students", "teachers", "optimiser", "extras"):
        weights |= {
            f"{part}/{n}": t for n, t in load_file(folder / "final" / f"{part}.safetensors").items()
        }
    return weights, json.loads((folder / "log.json").read_text())


def assert_same(interrupted: Path, uninterrupted: Path) -> None:
    (mine, my_log) = outcome(interrupted)
    (theirs, their_log) = outcome(uninterrupted)
    assert mine.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert mine[name].tobytes() == tensor.tobytes(), f"{name} differs"
    assert my_log == their_log, "reported scalars and scores differ"


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    finished = start(folder)
    assert finished.returncode == 0, finished.stderr
    return folder


@pytest.mark.parametrize("kill_at", ["2", "6", "11", "checkpoint:7"])
def test_killed_and_resumed_equals_uninterrupted(
    kill_at: str, uninterrupted: Path, tmp_path: Path
) -> None:
    """In the warm-up, in stage 1, in stage 2, and between writing a checkpoint and handing it
    over."""
    killed = start(tmp_path, kill_at=kill_at)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "final").exists()
    resumed = start(tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert_same(tmp_path, uninterrupted)


def test_resume_makes_lost_initial_labels_again(uninterrupted: Path, tmp_path: Path) -> None:
    """The stored p⁰ is scratch: on another machine it is gone, and is made again from the
    checkpoint, bit by bit."""
    assert start(tmp_path, kill_at="11").returncode == -signal.SIGKILL
    stores = list((tmp_path / "work-0").glob("initial-labels-stage2-*.arrow"))
    assert len(stores) == 2
    for store in stores:
        store.unlink()
    resumed = start(tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert_same(tmp_path, uninterrupted)


def test_two_workers_killed_in_stage_2_and_resumed(tmp_path: Path) -> None:
    """This run also scores its best step on a hold-out, which workers choose together and
    checkpoints keep."""
    whole = tmp_path / "whole"
    cut = tmp_path / "cut"
    finished = start(whole, workers=2)
    assert finished.returncode == 0, finished.stderr
    assert start(cut, workers=2, kill_at="11").returncode != 0
    resumed = start(cut, workers=2)
    assert resumed.returncode == 0, resumed.stderr
    assert_same(cut, whole)
