"""Two gloo workers compute what one process computes: same batches, same loss, same prototypes,
same scores."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

PROGRAM = Path(__file__).parent / "two_workers_run.py"


def run(folder: Path, workers: int) -> tuple[dict[str, Any], dict[str, Any]]:
    folder.mkdir(parents=True, exist_ok=True)
    port = str(21000 + os.getpid() % 20000)
    launcher = [
        "-m",
        "torch.distributed.run",
        f"--nproc-per-node={workers}",
        f"--master-port={port}",
    ]
    finished = subprocess.run(
        [sys.executable, *launcher, str(PROGRAM), str(folder)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return json.loads((folder / "log.json").read_text()), load_file(folder / "weights.safetensors")


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("gloo")
    return [run(folder / str(workers), workers) for workers in (1, 2)]


def test_loss_and_scalars_are_those_of_one_process(
    both: list[tuple[dict[str, Any], dict[str, Any]]],
) -> None:
    (one, _), (two, _) = both
    assert one["scalars"].keys() == two["scalars"].keys()
    for name, value in one["scalars"].items():
        assert two["scalars"][name] == pytest.approx(value, rel=2e-3, abs=2e-4), name


def test_weights_and_prototypes_are_those_of_one_process(
    both: list[tuple[dict[str, Any], dict[str, Any]]],
) -> None:
    (_, one), (_, two) = both
    assert any(name.startswith("rectifier") for name in one)
    for name, tensor in one.items():
        np.testing.assert_allclose(two[name], tensor, rtol=1e-4, atol=1e-5, err_msg=name)


def test_the_confusion_matrix_counts_every_image_once(
    both: list[tuple[dict[str, Any], dict[str, Any]]],
) -> None:
    (one, _), (two, _) = both
    assert np.sum(one["confusion"]) == np.sum(two["confusion"]) == one["valid_pixels"]
    assert two["miou"] == pytest.approx(one["miou"], abs=5e-3)
