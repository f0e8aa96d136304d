"""`rml plan` tells of dilated convolutions that look past every training crop, and the way out."""

from pathlib import Path

import pytest

from tests.support.platform.command import rml

STUDY = """\
name: dilated
base:
  data: {name: scenes, size_px: [48, 64], num_train: 8, num_val: 2}
  split: {num_labelled: 4}
  method: {name: supervised}
  network: {backbone: test_resnet, weights: none, output_stride: 8, aspp_branches: 2}
  geometry: {crop_px: [32, 40]}
  schedule: {warm_up_steps: 0, stage_steps: [4]}
rows:
  - {label: Six, set: {network.aspp_rates: [1, 6]}}
  - {label: Two, set: {network.aspp_rates: [1, 2]}}
"""
TOLD = "dilated convolutions look"


def plan_of(folder: Path, *words: str) -> str:
    """What the command prints, as one line: it breaks where the terminal ends."""
    (folder / "study.yaml").write_text(STUDY)
    return " ".join(rml("plan", folder / "study.yaml", "--out", folder / "out", *words).split())


def test_a_rate_that_only_evaluation_reaches_is_told_once_with_the_way_out(tmp_path: Path) -> None:
    """A rate of 6 at output stride 8 is 48 pixels: more than a crop, less than an image's width."""
    text = plan_of(tmp_path)
    assert text.count(TOLD) == 1
    assert "scenes, deeplab_v2: 1 of the 2 dilated convolutions look 48 pixels aside" in text
    assert "In crops of 32×40 that is outside" in text and "in evaluation, at 48×64" in text
    assert "Set smaller network.aspp_rates" in text
    assert "2 runs for 2 cells" in text, "it is a warning: the study can be run as it is"


@pytest.mark.parametrize(
    "way_out",
    [
        "base.geometry.crop_px=[48, 64]",
        "base.evaluation={inference: sliding, inference_px: [32, 40]}",
        "network.aspp_rates=[1, 2]",
    ],
)
def test_each_way_out_that_it_names_ends_it(way_out: str, tmp_path: Path) -> None:
    text = plan_of(tmp_path, "--set", way_out)
    assert TOLD not in text and " cells" in text
