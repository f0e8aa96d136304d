"""Plug-ins reach the processes of Ray: the actors of Tune and the workers of Train."""

import subprocess
import sys
from pathlib import Path

import pytest

from rml_platform.run.run_folder import RunFolder
from tests.support.platform.documented_plugins import STUDY, options, write_plugins

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]


def launch(folder: Path, files: tuple[Path, ...], execution: str) -> str:
    """`rml launch` in a process of its own, and what it says."""
    study = folder / "study.yaml"
    study.write_text(STUDY)
    words = ["launch", str(study), "--out", str(folder / execution), *options(*files)]
    command = "from rml_platform.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", command, *words, "--set", f"execution={execution}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_run_of_plug_ins_alone_trains_in_both_and_is_the_same(tmp_path: Path) -> None:
    files = write_plugins(tmp_path)
    results = []
    for execution in ("direct", "train"):
        assert "1 finished" in launch(tmp_path, files, execution)
        (run,) = (tmp_path / execution / "runs").iterdir()
        record = RunFolder.of(str(tmp_path / execution), run.name).record()
        assert record.result is not None, record
        assert "worst_iou" in record.result.evaluations[0].scores
        results.append((run.name, record.result.evaluations[0].confusion.tolist()))
    assert results[0] == results[1]
