"""The settings of a run of three seconds, and its folder."""

from pathlib import Path

RUN = """\
data: {name: scenes, size_px: [32, 48], num_train: 10, num_val: 3}
split: {num_labelled: 4}
method: {name: iml}
network: {backbone: test_resnet, weights: none, aspp_branches: 2}
geometry: {crop_px: [24, 32]}
batch: {labelled: 2, unlabelled: 2}
schedule: {warm_up_steps: 2, stage_steps: [2]}
runtime: {device: cpu, checkpoint_every_steps: 2}
"""


def run_id_of(folder: Path) -> str:
    (run,) = (folder / "out" / "runs").iterdir()
    return run.name
