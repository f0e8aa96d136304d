"""Predictions with a run on images in sub-folders, under paths of odd characters, after its output
folder was moved."""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from mlflow.tracking._tracking_service import utils as mlflow_utils
from PIL import Image

from rml_dashboards.contract.store_uri import sqlite_uri
from rml_platform.views.prediction import load_recorded, predict_files, recorded_task
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.errors import ConfigError, DataError, DeviceError, RmlError
from rml_trainers.scoring.metrics import confusion_matrix, mean_iou
from tests.support.image_folders import image, mask, save
from tests.support.platform.command import rml

RUN = """\
data: {name: folder, folder: own, class_names: [bg, red, green], size_px: [32, 48]}
split: {family: french, num_labelled: 4, seed: 0}
method: {name: supervised}
network: {backbone: test_resnet, weights: none, aspp_branches: 2}
geometry: {crop_px: [24, 32]}
batch: {labelled: 2, unlabelled: 2}
schedule: {warm_up_steps: 2, stage_steps: [2]}
runtime: {device: cpu, checkpoint_every_steps: 4, log_every_steps: 1}
"""
ODD = "o %20? #ü"


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """Data set, output folder after its move, and run id."""
    root = tmp_path_factory.mktemp("predict")
    own = root / "own"
    for i in range(8):
        save(image(i, 32, 48), own / "images" / f"city {i % 2} ü" / f"im{i}.png")
        save(mask(i, (0, 1, 2), 32, 48), own / "masks" / f"city {i % 2} ü" / f"im{i}.png")
    (root / "run.yaml").write_text(RUN)
    first = root / ODD / "first"
    rml("run", root / "run.yaml", "--out", first, "--data-root", root)
    second = root / ODD / "second %25"
    shutil.move(first, second)
    assert sorted(path.name for path in root.iterdir()) == [ODD, "own", "run.yaml"]
    (run,) = (second / "runs").iterdir()
    return own, second, run.name


def test_pictures_of_images_in_sub_folders_are_written(moved: tuple[Path, Path, str]) -> None:
    _, out, run_id = moved
    folder = out / "runs" / run_id / "predictions"
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")}
    data = PreparedData.open(next(path for path in (out / "cache").iterdir() if path.is_dir()))
    assert names == {f"{name}.png" for name in data.names("val")}
    assert all("/" in name for name in names)


def test_commands_find_prepared_images_and_artifacts_in_a_moved_folder(
    moved: tuple[Path, Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, out, run_id = moved
    monkeypatch.setattr(mlflow_utils, "_artifact_repos_cache", {})  # as in a new process
    rml("compare", run_id, "--out", out, "--to", tmp_path / "c.png", "--device", "cpu")
    assert (tmp_path / "c.png").is_file()
    with pytest.raises(ConfigError, match=r"c\.png: exists already"):
        rml("compare", run_id, "--out", out, "--to", tmp_path / "c.png", "--device", "cpu")
    said = rml("run", own.parent / "run.yaml", "--out", out, "--data-root", own.parent)
    assert run_id in said
    assert not (out.parent / "first").exists()
    client = MlflowClient(sqlite_uri(out / "mlflow.db"))
    (experiment,) = (e for e in client.search_experiments() if e.name != "Default")
    (found,) = client.search_runs([experiment.experiment_id])
    artifacts = {one.path for one in client.list_artifacts(found.info.run_id, "predictions")}
    assert artifacts, "the store looks for them where they lie now"
    assert all(path.startswith("predictions/city ") for path in artifacts)


def test_a_folder_is_predicted_and_scored_and_nothing_is_overwritten(
    moved: tuple[Path, Path, str], tmp_path: Path
) -> None:
    own, out, run_id = moved
    to = tmp_path / ODD
    words = ("predict", run_id, own / "images", "--out", out, "--to", to, "--device", "cpu")
    truth = ("--truth", own / "masks")
    said = rml(*words, *truth, "--write", "masks,probabilities")
    assert "8 images" in said
    before = {path: path.read_bytes() for path in to.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match=r"im0_mask\.png: exists already"):
        rml(*words, *truth, "--write", "masks,overlays")
    assert {path: path.read_bytes() for path in to.rglob("*") if path.is_file()} == before
    rml(*words, *truth, "--overwrite", "--write", "masks")
    total = np.zeros((3, 3), np.int64)
    for i in range(8):
        name = f"city {i % 2} ü/im{i}"
        found = np.array(Image.open(to / f"{name}_mask.png"))
        probabilities = np.load(to / f"{name}_probabilities.npz")["probabilities"]
        assert probabilities.shape == (32, 48, 3)
        np.testing.assert_allclose(probabilities.astype(np.float64).sum(-1), 1, atol=3e-3)
        label = np.array(Image.open(own / "masks" / f"{name}.png"))
        total += confusion_matrix(torch.from_numpy(found), torch.from_numpy(label), 3).numpy()
    with (to / "scores.csv").open(encoding="utf-8", newline="") as file:
        lines = {(line["image"], line["class"]): line for line in csv.DictReader(file)}
    assert float(lines["", ""]["iou"]) == pytest.approx(mean_iou(total), abs=1e-6)
    assert {name for name, _ in lines} == {"", *(f"city {i % 2} ü/im{i}" for i in range(8))}


def test_windows_of_the_whole_image_are_the_whole_image_and_small_ones_another_prediction(
    moved: tuple[Path, Path, str], tmp_path: Path
) -> None:
    _, out, run_id = moved
    large = tmp_path / "large.png"
    save(image(3, 150, 210), large)
    options = {
        "whole": ("--window", "none"),
        "one": ("--window", "400"),
        "tiled": ("--window", "64x48", "--stride", "40x30"),
        "batched": ("--window", "64x48", "--stride", "40x30", "--batch", "2"),
        "looks": ("--window", "none", "--scales", "0.75,1.25", "--flip"),
        "resized": ("--window", "none", "--resize", "32x48"),
    }
    found = {}
    for name, words in options.items():
        resize = () if "--resize" in words else ("--resize", "original")
        to = tmp_path / name
        places = ("--out", out, "--to", to, "--write", "probabilities", "--device", "cpu")
        rml("predict", run_id, large, *places, *resize, *words)
        found[name] = np.load(to / "large_probabilities.npz")["probabilities"].astype(np.float64)
        assert found[name].shape == (150, 210, 3)
        np.testing.assert_allclose(found[name].sum(-1), 1, atol=3e-3)
    np.testing.assert_allclose(found["one"], found["whole"], atol=1e-3)
    np.testing.assert_allclose(found["batched"], found["tiled"], atol=1e-3)
    for name in ("tiled", "looks", "resized"):
        assert np.abs(found[name] - found["whole"]).max() > 1e-2, name


def test_every_bad_file_is_told_together_and_nothing_is_written(
    moved: tuple[Path, Path, str], tmp_path: Path
) -> None:
    own, out, run_id = moved
    (tmp_path / "bad.png").write_bytes(b"\x89PNG broken")
    (tmp_path / "bad2.jpg").write_text("text")
    good = own / "images" / "city 0 ü" / "im0.png"
    given = (good, tmp_path / "bad.png", tmp_path / "nix.png", tmp_path / "bad2.jpg")
    with pytest.raises(DataError) as caught:
        rml("predict", run_id, *given, "--out", out, "--to", tmp_path / "to", "--device", "cpu")
    for name in ("bad.png", "bad2.jpg", "nix.png"):
        assert str(tmp_path / name) in str(caught.value)
    assert str(good) not in str(caught.value)
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        (("--network", "student_2"), ConfigError, "one student"),
        (("--write", "mask"), ConfigError, "did you mean"),
        (("--truth-name", "{stem}.png"), ConfigError, "give their folder"),
        (("--device", "tpu"), ConfigError, "--device tpu"),
        (("--truth", "nowhere"), DataError, "no such folder"),
    ],
)
def test_wrong_words_are_one_message_before_any_work(
    moved: tuple[Path, Path, str],
    tmp_path: Path,
    words: tuple[str, ...],
    error: type[RmlError],
    said: str,
) -> None:
    own, out, run_id = moved
    with pytest.raises(error, match=said):
        rml("predict", run_id, own / "images", "--out", out, "--to", tmp_path / "to", *words)
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory")])
def test_too_little_memory_is_told_with_what_to_do(
    moved: tuple[Path, Path, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    own, out, run_id = moved

    def full(*_: object) -> None:
        raise error

    monkeypatch.setattr(predict_files, "strips_of_each", full)
    one = own / "images" / "city 0 ü" / "im0.png"
    with pytest.raises(DeviceError, match=r"im0\.png: the memory of cpu is too small.*--window"):
        rml("predict", run_id, one, "--out", out, "--to", tmp_path / "to", "--device", "cpu")


def test_output_that_is_no_utf8_is_readable(moved: tuple[Path, Path, str], tmp_path: Path) -> None:
    own, out, run_id = moved
    main = "import sys; from rml_platform.cli import main; sys.argv[0] = 'rml'; main()"
    words = ["predict", run_id, str(own / "images"), "--out", str(out), "--device", "cpu"]
    done = subprocess.run(
        [sys.executable, "-c", main, *words, "--to", str(tmp_path / "to")],
        env={**os.environ, "PYTHONIOENCODING": "ascii", "COLUMNS": "40"},
        capture_output=True,
        check=True,
    )
    said = done.stdout.decode("ascii")
    assert "city 0 \\xfc/im0_mask.png" in said
    assert f"8 images -> {tmp_path / 'to'}" in said


def test_the_run_is_found_and_loaded_without_its_images(
    moved: tuple[Path, Path, str], tmp_path: Path
) -> None:
    _, out, run_id = moved
    bare = tmp_path / "bare"
    shutil.copytree(out / "runs", bare / "runs")
    loaded = load_recorded(recorded_task(str(bare), run_id), network=None, device="cpu")
    assert loaded.class_names == ("bg", "red", "green")
