"""What is done to files, and what is left alone."""

from pathlib import Path
from random import Random

import pytest

from rml_platform.chaos.arena import Arena, MissedError
from rml_platform.chaos.faults import files


@pytest.mark.parametrize("is_done", [True, False])
def test_checkpoints_of_a_run_that_came_to_its_end_meanwhile_stay(
    is_done: bool, idle_arena: Arena, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched: list[Arena] = []
    monkeypatch.setattr(files, "any_worker", lambda arena, rng: ("run-1", "process 1"))
    monkeypatch.setattr(files, "kill_launches", lambda arena: None)
    monkeypatch.setattr(Arena, "done", lambda self: ["run-1"] if is_done else [])
    monkeypatch.setattr(Arena, "launch", lambda self: launched.append(self))
    checkpoint = tmp_path / "out" / "runs" / "run-1" / "checkpoints" / "a" / "weights"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    if is_done:
        with pytest.raises(MissedError, match="run-1 was done"):
            files.all_files_of_a_run_gone(idle_arena, Random(0))
    else:
        assert "run-1 are deleted" in files.all_files_of_a_run_gone(idle_arena, Random(0))
    assert checkpoint.exists() is is_done
    assert launched == [idle_arena], "the study goes on either way"
