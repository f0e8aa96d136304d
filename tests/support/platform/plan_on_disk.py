"""A study of a person's own images, whose plan is written and whose images are then gone."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from rml_platform.planning.plan_file.writing import write_down
from rml_platform.planning.plan_file.written_plan import WrittenPlan, WrittenRun
from rml_platform.planning.plan_from_file import planned
from tests.support.image_folders import write_folder

OWN_IMAGES = """\
name: own
base:
  data: {name: folder, folder: own, size_px: [40, 56], class_names: [a, b, c]}
  split: {num_labelled: 2}
  method: {name: supervised}
  schedule: {warm_up_steps: 4, stage_steps: [4]}
rows:
  - label: Supervised
  - label: RML
    set: {method.name: rml}
seeds: [0, 1]
figures:
  - {name: loss, metric: train/loss}
profiles:
  short: {base: {schedule.stage_steps: [2]}}
"""


@dataclass(frozen=True)
class PlanOnDisk:
    """Where the study, its images and its output lie."""

    study: Path
    data_root: Path
    out: Path

    @classmethod
    def make(cls, folder: Path) -> "PlanOnDisk":
        """The study with its images; nothing is planned yet."""
        write_folder(folder / "data", num_labelled=6, num_bare=0)
        study = folder / "study.yaml"
        study.write_text(OWN_IMAGES)
        return cls(study, folder / "data", folder / "out")

    def write(
        self, *overrides: str, profile: str | None = None, storage: Path | None = None
    ) -> WrittenPlan:
        """Plan the study and write the plan, as `rml plan` does."""
        plan = planned(
            self.study, overrides, profile, out=self.out, data_root=self.data_root, is_local=False
        )
        return write_down(plan, overrides, self.out, str(storage or self.out))

    def lose_images(self) -> None:
        """Take away the images and what was prepared of them."""
        shutil.rmtree(self.data_root)
        shutil.rmtree(self.out / "cache")


def enlarged(plan: WrittenPlan, num_runs: int) -> WrittenPlan:
    """The plan with copies of its first run under other seeds, as many runs as asked for."""
    first = plan.runs[0]
    return replace(
        plan,
        runs=tuple(_copy(first, seed) for seed in range(num_runs)),
        seeds=tuple(range(num_runs)),
        split_seeds=None,
    )


def _copy(run: WrittenRun, seed: int) -> WrittenRun:
    cells = tuple(replace(cell, seed=seed) for cell in run.cells)
    return replace(run, run_id=f"{run.run_id}-{seed}", cells=cells)
