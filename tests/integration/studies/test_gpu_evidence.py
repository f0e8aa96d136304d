"""`make gpu-evidence --dry`: the same command on this machine, tiny, from start to records."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rml_benchmarks import gpu_evidence as command
from rml_benchmarks import settings
from rml_benchmarks.gpu_evidence import SETTINGS, STUDY, Clock, Evidence, main
from rml_benchmarks.one_gpu import needs
from rml_platform.study.cells import expand
from rml_platform.study.schema import load_study
from rml_trainers.networks import build_network
from rml_trainers.networks.pretrained.weights import PACKAGES
from rml_trainers.noise.config import NoiseConfig

pytestmark = pytest.mark.timeout(600)


def gpu_evidence(folder: Path, *words: object) -> "subprocess.CompletedProcess[str]":
    """The command in a process of its own, as make starts it."""
    command = [sys.executable, "-m", "rml_benchmarks.gpu_evidence", "--dry", "--minutes", "8"]
    return subprocess.run(
        [*command, *map(str, words)], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.long
def test_the_ladder_is_trained_and_its_records_let_another_machine_go_on(tmp_path: Path) -> None:
    first = gpu_evidence(tmp_path, "--only", "training", "--to", tmp_path / "one")
    assert first.returncode == 0, first.stdout + first.stderr
    table = (tmp_path / "one" / "evidence-dry.md").read_text()
    study = load_study(STUDY, profile="dry")
    num_runs = len(expand(study))
    assert all(row.label in table for row in study.rows) and f"{num_runs} runs" in table
    assert (tmp_path / "one" / "evidence-dry-paired.md").is_file()
    assert not list((tmp_path / "one").rglob("*.safetensors")), "networks stay where they are"

    records = tmp_path / "one" / "records.zip"
    again = gpu_evidence(
        tmp_path, "--only", "training", "--to", tmp_path / "two", "--records", records
    )
    assert again.returncode == 0, again.stdout + again.stderr
    assert f"nothing to do: all {num_runs} runs are done" in again.stdout
    assert (tmp_path / "two" / "evidence-dry.md").read_text() == table


def test_what_there_was_no_time_for_is_missing_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evidence = Evidence(tmp_path, tmp_path / "work", dry=True, clock=Clock(0))
    evidence.train()
    assert evidence.problems == ["the time was up before seed 0 was done"]
    assert main(["--dry", "--minutes", "0", "--only", "steps", "--to", str(tmp_path / "to")]) == 1
    assert "missing: there was no time for the steps of small" in capsys.readouterr().out


def test_the_steps_half_measures_a_step_and_writes_its_table(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    to = tmp_path / "to"
    assert main(["--dry", "--minutes", "10", "--only", "steps", "--to", str(to)]) == 0
    assert "missing" not in capfd.readouterr().out
    assert [file.name for file in to.iterdir()] == ["steps_small.md"]
    lines = (to / "steps_small.md").read_text().splitlines()
    assert any(line.startswith("small, changed: deeplab_v2 test_resnet") for line in lines)
    (step,) = [line for line in lines if line.startswith("| rml | ")]
    assert " ms " in step
    (heads,) = [line for line in lines if "peak memory" in line]
    memory = step.split("|")[heads.split("|").index(" peak memory ")]
    assert memory.strip().endswith("B"), step


def test_what_python_lacks_is_told_before_any_time_is_spent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert needs.WEIGHTS in PACKAGES.values()
    monkeypatch.setattr(needs, "WEIGHTS", "no_such_weights")
    assert main(["--to", str(tmp_path / "to")]) == 1
    said = capsys.readouterr().err
    assert "lacks no_such_weights" in said and "--only steps" in said
    assert not (tmp_path / "to").exists()
    assert not needs.lacking("steps", dry=False)
    assert not needs.lacking(None, dry=True)


@pytest.mark.parametrize(
    ("only", "absent", "said"),
    [
        ("steps", "gpu", ["cannot compute on a GPU: no driver"]),
        ("training", "gpu", ["cannot compute on a GPU: no driver"]),
        ("training", "images", ["the ladder cannot be trained: no folder"]),
        (None, "images", ["the ladder cannot be trained; step times need less: --only steps: no"]),
        (None, "gpu and images", ["on a GPU: no driver", "be trained; step times need less"]),
    ],
)
def test_what_the_machine_lacks_is_told_before_any_time_is_spent(
    only: str | None,
    absent: str,
    said: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(command, "lacking", lambda *_, **__: [])
    monkeypatch.setattr(command, "gpu_fault", lambda: "no driver" if "gpu" in absent else None)
    monkeypatch.setattr(
        command, "launch_fault", lambda *_: "no folder" if "images" in absent else None
    )
    words = ["--only", only] if only else []
    assert main(["--to", str(tmp_path / "to"), *words]) == 1
    lines = capsys.readouterr().err.splitlines()
    for line, part in zip(lines, said, strict=True):
        assert line.startswith("nothing was begun, ") and part in line
    assert not (tmp_path / "to").exists()


def test_step_times_want_no_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "gpu_fault", lambda: None)
    monkeypatch.setattr(command, "launch_fault", lambda *_: "no folder")
    evidence = Evidence(tmp_path, tmp_path, dry=False, clock=Clock(0))
    assert not list(evidence.faults("steps"))


@pytest.mark.parametrize("name", SETTINGS)
def test_the_network_of_every_setting_takes_its_crops_and_its_images(name: str) -> None:
    """Sizes, layers and backbones as they will be on the GPU: on torch's meta device, which
    computes nothing and takes no memory. `--dry` measures none of these settings."""
    setting = settings.SETTINGS[name]
    labelled, _ = setting.batch
    with torch.device("meta"):
        network = build_network(setting.network, setting.num_classes, NoiseConfig())
        for size_px in (setting.crop_px, setting.size_px):
            output = network(torch.empty(labelled, 3, *size_px))
            logits = network.upsample(output.logits, size_px)
            assert logits.shape == (labelled, setting.num_classes, *size_px)
            logits.float().mean().backward()  # type: ignore[no-untyped-call]
    assert all(weight.grad is not None for weight in network.parameters())
