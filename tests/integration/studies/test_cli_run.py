"""One run through the command line, without Ray: train, do nothing the second time, table,
prediction, stop."""

import shutil
from pathlib import Path

import numpy as np
from mlflow import MlflowClient
from PIL import Image
from typer.testing import CliRunner

from rml_platform.cli import app
from rml_platform.run.run_folder import RunFolder
from tests.support.platform.one_run import RUN, run_id_of

STUDY = """\
name: one_cell
base:
"""
runner = CliRunner()


def test_the_run_says_how_it_went_and_where_everything_is(trained: tuple[Path, str]) -> None:
    folder, said = trained
    run_id = run_id_of(folder)
    assert run_id.startswith("scenes-4-iml-s0-")
    assert f"done: {run_id}: mIoU teacher_1" in said
    assert "rml predict" in said
    result = RunFolder.of(str(folder / "out"), run_id).result()
    assert result is not None
    assert 0 <= result.evaluations[0].miou <= 1


def test_it_is_tracked_as_one_mlflow_run(trained: tuple[Path, str]) -> None:
    client = MlflowClient(f"sqlite:///{trained[0] / 'out' / 'mlflow.db'}")
    (experiment,) = (e for e in client.search_experiments() if e.name != "Default")
    (recorded,) = client.search_runs([experiment.experiment_id])
    assert recorded.info.status == "FINISHED"
    assert recorded.data.tags["rml.run_id"] == run_id_of(trained[0])
    assert "final/miou" in recorded.data.metrics


def test_without_a_tracker_there_are_the_run_folders_and_nothing_else(
    trained: tuple[Path, str], tmp_path: Path
) -> None:
    folder, _ = trained
    for name in ("runs", "cache"):
        shutil.copytree(folder / "out" / name, tmp_path / name)
    where = ["--out", str(tmp_path), "--tracking-uri", "none"]
    done = runner.invoke(app, ["run", str(folder / "run.yaml"), *where], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    assert "mlflow" not in done.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "runs"]


def test_the_same_command_again_trains_nothing(trained: tuple[Path, str]) -> None:
    folder, _ = trained
    heartbeat = RunFolder.of(str(folder / "out"), run_id_of(folder)).heartbeat()
    again = runner.invoke(app, ["run", str(folder / "run.yaml"), "--out", str(folder / "out")])
    assert again.exit_code == 0
    assert RunFolder.of(str(folder / "out"), run_id_of(folder)).heartbeat() == heartbeat


def test_a_study_finds_the_run_and_fills_its_table(trained: tuple[Path, str]) -> None:
    folder, _ = trained
    study = folder / "study.yaml"
    study.write_text(STUDY + "".join(f"  {line}\n" for line in RUN.splitlines()))
    out = ["--out", str(folder / "out")]
    assert "1 runs for 1 cells: 1 done" in runner.invoke(app, ["plan", str(study), *out]).output
    done = runner.invoke(app, ["tables", str(study), *out, "--to", str(folder / "tables")])
    assert done.exit_code == 0, done.output
    assert run_id_of(folder) in (folder / "tables" / "one_cell.csv").read_text()


def test_prediction_of_images_of_any_size(trained: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = trained
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "street.png")
    arguments = [
        run_id_of(folder),
        str(tmp_path / "street.png"),
        "--to",
        str(tmp_path),
        "--out",
        str(folder / "out"),
    ]
    done = runner.invoke(app, ["predict", *arguments, "--network", "student_2"])
    assert done.exit_code == 0, done.output
    mask = np.asarray(Image.open(tmp_path / "street_mask.png"))
    assert mask.shape == (50, 70)
    assert mask.max() < 8
    assert Image.open(tmp_path / "street_overlay.png").size == (70, 50)


def test_a_damaged_checkpoint_is_not_predicted_with(
    trained: tuple[Path, str], tmp_path: Path
) -> None:
    folder, _ = trained
    shutil.copytree(folder / "out" / "runs", tmp_path / "runs")
    for weights in (tmp_path / "runs").rglob("teachers.safetensors"):
        weights.write_bytes(weights.read_bytes()[:100])
    Image.new("RGB", (48, 32)).save(tmp_path / "street.png")
    done = runner.invoke(
        app, ["predict", run_id_of(folder), str(tmp_path / "street.png"), "--out", str(tmp_path)]
    )
    assert "no sound checkpoint" in str(done.exception)
    assert "teachers.safetensors" in str(done.exception)


def test_a_truncated_result_is_named_and_made_again(
    trained: tuple[Path, str], tmp_path: Path
) -> None:
    folder, _ = trained
    out = tmp_path / "out"
    shutil.copytree(folder / "out", out)
    run = RunFolder.of(str(out), run_id_of(folder))
    whole = run.result()
    assert whole is not None
    path = out / "runs" / run.run_id / "result.json"
    path.write_bytes(path.read_bytes()[:100])
    study = tmp_path / "study.yaml"
    study.write_text(STUDY + "".join(f"  {line}\n" for line in RUN.splitlines()))
    said = runner.invoke(app, ["status", str(study), "--out", str(out)], env={"COLUMNS": "400"})
    assert "result.json is damaged: Invalid JSON" in said.output
    assert "1 runs for 1 cells: 1 cut off" in said.output
    again = runner.invoke(
        app, ["run", str(folder / "run.yaml"), "--out", str(out)], env={"COLUMNS": "400"}
    )
    assert again.exit_code == 0, again.output
    assert "result.json is damaged" in again.output
    made = run.result()
    assert made is not None
    assert made.evaluations[0].confusion.tolist() == whole.evaluations[0].confusion.tolist()
