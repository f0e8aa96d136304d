"""A small study file for tests, and the writing of it."""

from pathlib import Path

STUDY = """\
name: tiny
execution: direct
base:
  data: {name: scenes, size_px: [32, 48], num_train: 10, num_val: 3}
  split: {num_labelled: 4}
  method: {name: supervised}
  schedule: {warm_up_steps: 4, stage_steps: [4]}
rows:
  - label: Supervised
  - label: RML
    set: {method.name: rml}
    reported: {"1/4": {mean: 60.5, std: 0.5, source: paper}}
  - {label: Other, reported_only: true, reported: {"1/4": [{mean: 50}, {mean: 51, note: second}]}}
columns:
  - label: "1/4"
    set: {split.num_labelled: 2}
  - label: "1/2"
    set: {split.num_labelled: 5}
    metric: final/accuracy
seeds: [0, 1]
profiles:
  small:
    base: {schedule.warm_up_steps: 2}
    rows: {RML: {schedule.stage_steps: [2, 2]}}
    columns: {"1/4": {split.num_labelled: 3}}
    seeds: [7]
"""

SMALLEST = """\
base:
  data: {name: scenes, size_px: [32, 48], num_train: 10, num_val: 3}
  split: {num_labelled: 4}
  method: {name: supervised}
  network: {backbone: test_resnet, weights: none, aspp_branches: 2}
  geometry: {crop_px: [24, 32]}
  batch: {labelled: 2}
"""
"""The settings of a run that trains in a second; schedule and runtime are to follow."""


def write_study(folder: Path, text: str = STUDY) -> Path:
    """The text as a file called study.yaml."""
    path = folder / "study.yaml"
    path.write_text(text)
    return path
