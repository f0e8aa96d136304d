"""Two tiny runs through the command line: their curves, and the same images seen by both."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from rml_platform.run.metric_log import pieces
from rml_platform.run.run_folder import RunFolder
from rml_platform.views.comparison import compare_runs
from rml_platform.views.prediction import load_recorded, recorded_task
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.errors import ConfigError
from rml_trainers.prediction.inference import predict_image
from rml_trainers.scoring.metrics import confusion_matrix, mean_iou
from tests.support.platform.command import rml

BASE = """\
data: {name: scenes, size_px: [32, 48], num_train: 10, num_val: 3}
split: {num_labelled: 4}
network: {backbone: test_resnet, weights: none, aspp_branches: 2}
geometry: {crop_px: [24, 32]}
batch: {labelled: 2, unlabelled: 2}
schedule: {warm_up_steps: 2, stage_steps: [2]}
runtime: {device: cpu, checkpoint_every_steps: 4, log_every_steps: 1}
"""
STUDY = f"""\
name: pair
base:
{"".join(f"  {line}{chr(10)}" for line in BASE.splitlines())}
rows:
  - {{label: Supervised, set: {{method.name: supervised}}}}
  - {{label: IML, set: {{method.name: iml}}}}
figures:
  - {{name: loss, metric: train/loss, from_stage: 1}}
"""
runner = CliRunner()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Folder of a study and its output, and the run id of each method."""
    folder = tmp_path_factory.mktemp("figures")
    (folder / "study.yaml").write_text(STUDY)
    (folder / "run.yaml").write_text(BASE)
    for method in ("supervised", "iml"):
        rml("run", folder / "run.yaml", "--set", f"method.name={method}", "--out", folder / "out")
    rml("plan", folder / "study.yaml", "--out", folder / "out")
    run_ids = [run.name for run in (folder / "out" / "runs").iterdir()]
    return folder, {run_id.split("-")[2]: run_id for run_id in run_ids}


def test_the_curves_are_what_the_runs_measured(trained: tuple[Path, dict[str, str]]) -> None:
    folder, run_ids = trained
    said = rml("figures", folder / "study.yaml", "--out", folder / "out")
    written = folder / "out" / "studies" / "pair"
    assert said.split() == [
        str(written / name)
        for name in ("loss.svg", "loss.png", "loss.pdf", "loss.csv", "figures.md")
    ]
    table = pd.read_csv(written / "loss.csv")
    for run_id in run_ids.values():
        rows = [
            row
            for _, piece in pieces(
                RunFolder.of(str(folder / "out"), run_id).folder, -1, np.inf, pytest.fail
            )
            for row in piece
        ]
        measured = {row.step: row.value for row in rows if row.key == "train/loss" and row.step > 2}
        own = table[table["run_id"] == run_id]
        assert dict(zip(own["step"], own["value"], strict=True)) == measured
        assert own["x"].tolist() == [1, 2]
        assert run_id in (written / "figures.md").read_text()
    assert Image.open(written / "loss.png").size[0] > 500


def test_tables_and_figures_from_run_folders_alone_say_the_same(
    trained: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    """The runs are in MLflow; their folders alone give the same numbers, curves and texts."""
    folder, _ = trained
    out = folder / "out"
    for uri in (f"sqlite:///{out / 'mlflow.db'}", "none"):
        to = tmp_path / uri.partition(":")[0]
        for command in ("tables", "figures"):
            rml(command, folder / "study.yaml", "--out", out, "--to", to, "--tracking-uri", uri)
    for name, key in (("pair.csv", "mlflow_run_ids"), ("loss.csv", "mlflow_run_id")):
        mlflow = pd.read_csv(tmp_path / "sqlite" / name)
        folders = pd.read_csv(tmp_path / "none" / name)
        assert len(mlflow) > 1
        pd.testing.assert_frame_equal(mlflow.drop(columns=key), folders.drop(columns=key))
    tables = [(tmp_path / kind / "pair.md").read_text() for kind in ("sqlite", "none")]
    assert len({text.split("## How to trace")[0] for text in tables}) == 1
    assert "MLflow" in tables[0] and "MLflow" not in tables[1]
    pictures = [(tmp_path / kind / "loss.png").read_bytes() for kind in ("sqlite", "none")]
    assert pictures[0] == pictures[1]


def test_figures_of_a_study_that_declares_none(
    trained: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    """It draws what its records are good for, and nothing else."""
    (tmp_path / "study.yaml").write_text(STUDY[: STUDY.index("figures:")])
    rml("figures", tmp_path / "study.yaml", "--out", trained[0] / "out", "--to", tmp_path)
    names = {path.stem for path in tmp_path.glob("*.svg")}
    assert {"loss", "scores", "classes"} <= names
    assert not {"gain", "ranks"} & names, "there is one column only"
    scores = pd.read_csv(tmp_path / "scores.csv")
    assert set(scores["run_id"]) == set(trained[1].values())
    index = (tmp_path / "figures.md").read_text()
    assert all(f"]({name}.png)" in index for name in names)


def test_a_comparison_shows_what_predict_predicts(
    trained: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    folder, run_ids = trained
    storage = str(folder / "out")
    compared = compare_runs(
        storage, [(run_ids["supervised"], ""), (run_ids["iml"], "ours")], num_images=2
    )
    assert [(run.label, run.is_finished) for run in compared.runs] == [
        ("supervised", True),
        ("ours", True),
    ]
    for run in compared.runs:
        task = recorded_task(storage, run.run_id)
        loaded = load_recorded(task, network=None, device="cpu")
        data = PreparedData.open(task.prepared_path)
        names = data.names("val")
        assert compared.names == (names[0], names[-1])
        for name, mask, score in zip(compared.names, run.masks, run.miou, strict=True):
            i = data.index("val", name)
            truth = data.label("val", i)
            assert np.array_equal(
                mask, predict_image(loaded.predictor, data.image("val", i), (32, 48))
            )
            assert truth is not None
            expected = confusion_matrix(torch.from_numpy(mask), torch.from_numpy(truth.copy()), 8)
            assert score == mean_iou(expected.numpy())


def test_the_picture_of_chosen_images(trained: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    folder, run_ids = trained
    task = recorded_task(str(folder / "out"), run_ids["iml"])
    name = PreparedData.open(task.prepared_path).names("val")[1]
    arguments = [
        f"{run_ids['supervised']}=Baseline",
        run_ids["iml"],
        "--image",
        name,
        "--network",
        "student_1",
    ]
    said = rml("compare", *arguments, "--to", tmp_path / "sheet.png", "--out", folder / "out")
    assert f"Baseline: {run_ids['supervised']}, student_1" in said
    width, height = Image.open(tmp_path / "sheet.png").size
    assert width > 2 * height, "one row of four panels"


def test_what_cannot_be_compared_is_refused_before_any_work(
    trained: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    folder, run_ids = trained
    storage = str(folder / "out")
    iml = run_ids["iml"]
    other = "other-4-iml-s0-0"
    task = json.loads((folder / "out" / "runs" / iml / "task.json").read_text())
    elsewhere = {**task, "run_id": other, "data_hash": "0" * 12, "prepared_folder": "cache/other"}
    RunFolder.of(storage, other).folder.write("task.json", json.dumps(elsewhere).encode())
    for runs, names, part in (
        ([(iml[:-1], "")], [], f"no run '{iml[:-1]}' under .*; the nearest of 3 are: {iml}"),
        ([(iml, ""), (iml, "")], [], "two columns would be called"),
        ([(iml, "a"), (other, "b")], [], f"different data.*\n.*{iml}\n.*{other}"),
        ([(iml, "")], ["scene_1"], "scene_1: no such validation image of scenes; the nearest are "),
    ):
        with pytest.raises(ConfigError, match=part):
            compare_runs(storage, runs, names)
    with pytest.raises(ConfigError, match=r"ending says"):
        rml("compare", iml, "--to", tmp_path / "sheet", "--out", folder / "out")
