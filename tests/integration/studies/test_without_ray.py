"""A study on a machine that has neither Ray nor MLflow, such as a lent GPU."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rml_platform.launch.launch import launch
from rml_platform.launch.output_layout import OutputLayout
from rml_platform.planning.plan import make_plan
from rml_platform.study.schema import load_study
from rml_trainers.errors import ConfigError
from tests.support.platform.studies import write_study

ABSENT = ("ray", "mlflow", "sqlalchemy")
STUDY = """\
name: alone
execution: {execution}
base:
  data: {{name: scenes, size_px: [32, 48], num_train: 10, num_val: 3}}
  split: {{num_labelled: 4}}
  method: {{name: mean_teacher}}
  network: {{backbone: test_resnet, weights: none, aspp_branches: 2}}
  geometry: {{crop_px: [24, 32]}}
  batch: {{labelled: 2, unlabelled: 2}}
  schedule: {{warm_up_steps: 4, stage_steps: [4]}}
  runtime: {{device: cpu, log_every_steps: 2, checkpoint_every_steps: 4, num_read_ahead: 0}}
rows:
  - label: MT
  - {{label: IML, set: {{method.name: iml}}}}
seeds: [0]
"""


def rml_without(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """`rml` in a process in which the absent packages cannot be imported."""
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({ABSENT!r}))\n"
        "from rml_platform.cli import main; main()"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *words, "--tracking-uri", "none"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_study_is_trained_and_its_table_written(tmp_path: Path) -> None:
    study = write_study(tmp_path, STUDY.format(execution="auto"))
    done = rml_without(tmp_path, "launch", study.name, "--without-ray")
    said = done.stdout + done.stderr
    assert "Traceback" not in said, said
    results = sorted((tmp_path / "outputs" / "runs").glob("*/result.json"))
    assert len(results) == 2 and done.returncode == 0, said
    table = (tmp_path / "outputs" / "studies" / "alone" / "alone.md").read_text()
    assert "MT" in table and "IML" in table
    resources = json.loads((results[0].parent / "task.json").read_text())
    assert resources["execution"] == "direct" and resources["gpus_per_worker"] == 0

    again = rml_without(tmp_path, "launch", study.name, "--without-ray")
    assert "nothing to do: all 2 runs are done" in again.stdout, again.stdout + again.stderr
    shown = rml_without(tmp_path, "tables", study.name)
    assert shown.returncode == 0 and "IML" in shown.stdout, shown.stderr


@pytest.mark.parametrize(
    ("execution", "address", "what"),
    [("train", None, "execution: train"), ("auto", "auto", "--address")],
)
def test_what_needs_ray_is_refused(
    execution: str, address: str | None, what: str, tmp_path: Path
) -> None:
    study = load_study(write_study(tmp_path, STUDY.format(execution=execution)))
    plan = make_plan(study, data_root=None, cache_root=tmp_path / "cache")
    layout = OutputLayout(root=tmp_path / "out", storage=str(tmp_path / "out"))
    with pytest.raises(ConfigError, match=f"--without-ray .*{what}"):
        launch(
            plan,
            layout=layout,
            data_root=None,
            tracking_uri="none",
            address=address,
            with_ray=False,
        )
