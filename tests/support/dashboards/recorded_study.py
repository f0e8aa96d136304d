"""A study whose plan is written, with the folders of its finished runs, as training leaves them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rml_platform.planning.plan_file.written_plan import WrittenPlan
from tests.support.dashboards.finished_folders import write_finished
from tests.support.platform.plan_on_disk import PlanOnDisk

SCORES = {("Supervised", 0): 0.5, ("Supervised", 1): 0.6, ("RML", 0): 0.52, ("RML", 1): 0.63}
LOSSES = {4: 0.9, 8: 0.4}


@dataclass(frozen=True)
class RecordedStudy:
    """Rows Supervised and RML, seeds 0 and 1, one column `miou`."""

    study: Path
    out: Path
    plan: WrittenPlan

    @classmethod
    def make(
        cls,
        folder: Path,
        *,
        scores: Mapping[tuple[str, int], float] | None = None,
        study: Mapping[str, Any] | None = None,
        text: str | None = None,
        more: Mapping[str, float] | None = None,
    ) -> "RecordedStudy":
        """Plan the study and record its runs.

        Args:
            scores: mIoU by row and seed of the runs that have finished; default: SCORES.
            study, text: what the study file says, as values or as text; default: OWN_IMAGES.
            more: further scores of every run by metric, with `__` for `/`.
        """
        there = PlanOnDisk.make(folder)
        if study is not None:
            there.study.write_text(yaml.safe_dump(dict(study), sort_keys=False))
        if text is not None:
            there.study.write_text(text)
        plan = there.write()
        for run in plan.runs:
            (cell,) = run.cells
            score = (SCORES if scores is None else scores).get((cell.row, cell.seed))
            if score is not None:
                write_finished(there.out, run.run_id, score, split=run.split_hash, **(more or {}))
                measure(there.out, run.run_id, {"train/loss": LOSSES})
        there.lose_images()
        return cls(there.study, there.out, plan)

    def run_id(self, row: str, seed: int) -> str:
        (found,) = [
            run.run_id for cell, run in self.plan.cells if (cell.row, cell.seed) == (row, seed)
        ]
        return found


def measure(out: Path, run_id: str, values: Mapping[str, Mapping[int, float]]) -> None:
    """Record what a finished run measured: metric → step → value."""
    points = [
        [key, step, 1_793_880_000_000 + step, value]
        for key, by_step in values.items()
        for step, value in by_step.items()
    ]
    folder = out / "runs" / run_id / "metrics"
    folder.mkdir(exist_ok=True)
    (folder / "end.json").write_text(json.dumps(points))
