"""Groups of workers that the benchmark times against each other."""

from pathlib import Path

import pytest

from rml_benchmarks.processes.workers import WorkerGroup
from rml_benchmarks.settings import SMALLEST
from rml_trainers.errors import RmlError


def test_two_workers_take_steps_together_and_leave_when_told(tmp_path: Path) -> None:
    group = WorkerGroup(2, "step/rml", SMALLEST, tmp_path)
    try:
        assert group.peak_bytes > 0
        for index in range(2):
            group.step(index)
    finally:
        group.close()


def test_the_error_of_a_worker_is_told(tmp_path: Path) -> None:
    with pytest.raises(RmlError, match="worker 0 of 1 failed: KeyError: 'nothing'"):
        WorkerGroup(1, "step/nothing", SMALLEST, tmp_path)
