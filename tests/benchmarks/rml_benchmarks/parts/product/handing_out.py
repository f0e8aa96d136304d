"""What a run costs a launcher that hands it out through Ray Tune, on a Ray of this machine, when
the run itself is nothing: the simulated nodes of `scale` leave Tune out."""

import io
import json
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from rml_benchmarks.measuring.tables import Table
from rml_trainers.scoring.score import Evaluation

SIZES = (200, 1_200)
"""Numbers of runs; what is told is the difference, so that starting Ray is in none of it."""
STUDY = """
name: nothing
execution: direct
base:
  data: {{name: scenes, size_px: [32, 48], num_train: 40, num_val: 3}}
  split: {{num_labelled: 4}}
  method: {{name: supervised}}
  network: {{backbone: test_resnet, weights: none}}
  geometry: {{crop_px: [24, 32]}}
  batch: {{labelled: 2, unlabelled: 2}}
  schedule: {{warm_up_steps: 10, stage_steps: []}}
seeds: [{seeds}]
"""


class NoTrainer:
    """Stands in for a trainer, and is done at once."""

    def __init__(self, *_: Any, **settings: Any) -> None: ...

    def fit(self) -> tuple[Evaluation, ...]:
        return (
            Evaluation(
                protocol="scenes-32x48/teacher_1/last",
                network="teacher_1",
                scores={"miou": 0.5, "accuracy": 0.5},
                confusion=np.eye(2, dtype=np.int64),
            ),
        )


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Of one launch, all threads of the launcher together."""

    cpu_s: float
    peak_bytes: int


def handed_out(folder: Path) -> Table:
    """Costs of a further run."""
    few, many = (_in_a_process(number, folder) for number in SIZES)
    further = SIZES[1] - SIZES[0]
    return Table(
        title="Through Ray Tune on this machine, runs that are nothing",
        columns=("", "per run"),
        rows=(
            ("rml launch: CPU (ms)", 1000 * (many.cpu_s - few.cpu_s) / further),
            ("rml launch: memory (kB)", (many.peak_bytes - few.peak_bytes) / further / 1e3),
        ),
        note=f"From launches of {SIZES[0]:,} and {SIZES[1]:,} runs, scheduler and Tune together.",
    )


def _in_a_process(number: int, folder: Path) -> Costs:
    words = [sys.executable, "-m", __name__, str(number), str(folder / f"handed-out-{number}")]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    return Costs(**json.loads(done.stdout.splitlines()[-1]))


def measured(number: int, folder: Path) -> Costs:
    """Launch so many runs, in this process."""
    from rml_platform.launch.launch import launch
    from rml_platform.launch.output_layout import OutputLayout
    from rml_platform.planning.plan import make_plan
    from rml_platform.study.schema import load_study

    folder.mkdir(parents=True)
    file = folder / "study.yaml"
    file.write_text(STUDY.format(seeds=", ".join(map(str, range(number)))))
    plan = make_plan(load_study(file), data_root=None, cache_root=folder / "cache")
    begin_s = time.process_time()
    report = launch(
        plan,
        layout=OutputLayout(root=folder, storage=str(folder)),
        data_root=None,
        tracking_uri="none",
        console=Console(file=io.StringIO()),
        trainer_class=NoTrainer,
    )
    assert len(report.done) == number, f"{len(report.done)} of {number} are done"
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Costs(cpu_s=time.process_time() - begin_s, peak_bytes=peak)


if __name__ == "__main__":
    # Under its own name: what workers get has to be found there.
    from rml_benchmarks.parts.product import handing_out

    costs = handing_out.measured(int(sys.argv[1]), Path(sys.argv[2]))
    sys.stdout.write(json.dumps(asdict(costs)) + "\n")
