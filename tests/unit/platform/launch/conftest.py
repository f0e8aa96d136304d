"""A grid of one good and one bad run, launched without Ray."""

import contextlib
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from rml_platform.launch import launch as module
from rml_platform.launch.launch import launch
from rml_platform.launch.outcomes import LaunchReport
from rml_platform.launch.output_layout import OutputLayout
from rml_platform.launch.scheduling.turns import Turns
from rml_platform.planning.plan import Plan, make_plan
from rml_platform.run.attempt import WorkerContext
from rml_platform.run.execute import execute
from rml_platform.run.run_folder import RunFolder
from rml_platform.run.task import RunTask
from rml_platform.study.schema import load_study
from tests.support.platform.fake_trainer import GOOD, NON_FINITE, FakeTrainer
from tests.support.platform.studies import SMALLEST, write_study
from tests.support.recorded import Store

HEAD = """\
name: tiny
execution: direct
"""
REST = f"""\
  schedule: {{warm_up_steps: 5, stage_steps: []}}
seeds: [{GOOD}, {NON_FINITE}]
"""
STUDY = HEAD + SMALLEST + REST


class Grid:
    """A plan of one good and one bad run, and launches of it in this process instead of Ray's."""

    def __init__(self, folder: Path, uri: str, study_text: str = STUDY) -> None:
        self.folder = folder
        self.uri = uri
        study = load_study(write_study(folder, study_text))
        self.plan: Plan = make_plan(study, data_root=None, cache_root=folder / "cache")
        self.good, self.bad = (run.run_id for run in self.plan.runs)
        self.said = io.StringIO()
        self.trained: list[str] = []

    def launch(self, uri: str | None = None, **more: Any) -> LaunchReport:
        layout = OutputLayout(root=self.folder, storage=str(self.folder))
        console = Console(file=self.said, width=200)
        return launch(
            self.plan,
            layout=layout,
            data_root=None,
            tracking_uri=uri or self.uri,
            console=console,
            **more,
        )

    def run(self, run_id: str) -> RunFolder:
        return RunFolder.of(str(self.folder), run_id)

    def carry_out(
        self, tasks: Sequence[RunTask], *, turns: Turns, **rest: object
    ) -> dict[str, str]:
        for task in tasks:
            turns.add(task)
        while (own := turns.next(())) is not None:
            self.trained.append(own.run_id)
            execute(own, WorkerContext(writer=own.launch_id), FakeTrainer)
        return {}


def carry_out_by(monkeypatch: pytest.MonkeyPatch, carry_out: Callable[..., object]) -> None:
    """In the place of Ray, of which none is begun."""
    monkeypatch.setattr(module, "ray_ahead", lambda *what: contextlib.nullcontext())
    monkeypatch.setattr(module, "on_ray", lambda ahead: carry_out)


@pytest.fixture
def grid(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> Grid:
    grid = Grid(tmp_path, store.uri)
    carry_out_by(monkeypatch, grid.carry_out)
    return grid
