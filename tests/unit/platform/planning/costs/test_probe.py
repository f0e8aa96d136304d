"""A probe trains a few steps, keeps their times, and leaves nothing behind."""

from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch

from rml_platform.launch.on_ray import carrying_out
from rml_platform.launch.session import gpu_locks
from rml_platform.planning.costs import probe as module
from rml_platform.planning.costs.probe import STEPS, probe, probe_all, probed_machine, shortened
from rml_platform.planning.machine import Machine
from rml_platform.planning.plan import Plan, make_plan
from rml_platform.study.schema import load_study
from rml_platform.study.study_file import ResourcesConfig
from rml_trainers.errors import ConfigError
from rml_trainers.methods import METHODS
from rml_trainers.training.stages import stages_of
from tests.support.platform.command import rml
from tests.support.platform.studies import write_study
from tests.support.tiny import tiny_config

STUDY = """\
name: probed
base:
  data: {name: scenes, size_px: [32, 48], num_train: 10, num_val: 3}
  split: {num_labelled: 4}
  method: {name: iml}
  network: {backbone: test_resnet, weights: none, aspp_branches: 2}
  geometry: {crop_px: [24, 32]}
  batch: {labelled: 2, unlabelled: 2}
  schedule: {warm_up_steps: 500, stage_steps: [700, 700]}
  runtime: {device: cpu, num_read_ahead: 0}
seeds: [0, 1]
"""


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    study = load_study(write_study(tmp_path, STUDY))
    return make_plan(study, data_root=None, cache_root=tmp_path / "cache")


def test_a_probe_knows_steps_evaluation_and_checkpoint(plan: Plan, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    told: list[str] = []
    (found,) = probe_all(plan.runs, plan.study.resources, tmp_path, told.append).values()
    assert min(found.warm_up_s, found.stage_s, found.evaluation_s) > 0
    assert found.run_bytes > 100_000
    assert (len(told), torch.get_num_threads()) == (1, threads)
    assert not (tmp_path / "runs").exists()


def test_what_a_run_would_end_in_a_probe_ends_in(plan: Plan) -> None:
    (tmp,) = {run.prepared_folder for run in plan.runs}
    for file in tmp.iterdir():
        file.unlink()
    with pytest.raises(Exception, match=str(tmp)):
        probe(plan.runs[0], plan.study.resources)


@pytest.mark.parametrize("method", METHODS)
def test_each_method_is_probed_in_each_kind_of_its_stages(method: str) -> None:
    config = tiny_config(method)
    stages = stages_of(shortened(config))
    assert [stage.warm_up for stage in stages] == [s.warm_up for s in stages_of(config)]
    assert max(stage.num_steps for stage in stages) <= STEPS


@pytest.fixture
def study_with_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study whose runs are given a GPU, on a machine where torch sees none."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    return write_study(tmp_path, STUDY + "resources: {gpus_per_worker: 1}\n")


@pytest.mark.parametrize("term", [("--max-gpu-hours", "10"), ("--deadline", "2h")])
def test_a_launch_with_terms_needs_no_gpu_where_it_is_started(
    term: tuple[str, str], study_with_gpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Joined(Exception):
        """The launch came as far as its cluster."""

    def session(*_: Any, **__: Any) -> NoReturn:
        raise Joined

    monkeypatch.setattr(carrying_out, "ray_session", session)
    words = ["--address", "127.0.0.1:1", "--out", tmp_path / "out", "--tracking-uri", "none"]
    with pytest.raises(Joined):
        rml("launch", study_with_gpus, *words, *term)


def test_a_machine_without_a_gpu_is_no_place_to_probe_runs_that_have_one(
    study_with_gpus: Path, tmp_path: Path
) -> None:
    study = load_study(study_with_gpus)
    plan = make_plan(study, data_root=None, cache_root=tmp_path / "cache")
    with pytest.raises(ConfigError, match=r"--probe: .* torch sees none here; .* same --out$"):
        probe_all(plan.runs, study.resources, tmp_path, print)
    assert not (tmp_path / "probes").exists()


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine where torch sees two GPUs, of different kinds."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index=0: ["T4", "A100"][index])
    monkeypatch.setattr(torch.cuda, "set_device", lambda index: None)
    monkeypatch.setattr(Machine, "here", lambda: Machine(cores=4, gpus=2))
    monkeypatch.setattr(gpu_locks, "SHORT", tmp_path)
    monkeypatch.delenv(gpu_locks.VISIBLE, raising=False)


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("gpus", "device", "used", "recorded"),
    [
        (0, "auto", "cpu", "3 cores"),
        (0, "cpu", "cpu", "3 cores"),
        ("auto", "auto", "cuda:1", "A100"),
        (1, "cuda", "cuda:1", "A100"),
    ],
)
def test_a_probe_is_made_on_the_device_under_which_it_is_kept(
    gpus: Any, device: Any, used: str, recorded: str, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Seen(Exception):
        """What a trainer would train on."""

    def trainer(*_: Any, device: torch.device, **__: Any) -> NoReturn:
        raise Seen(str(device))

    monkeypatch.setattr(module, "Trainer", trainer)
    resources = ResourcesConfig(gpus_per_worker=gpus, cpus_per_worker=3)
    run = plan.runs[0]
    runtime = replace(run.config.runtime, device=device)
    with pytest.raises(Seen, match=f"^{used}$"):
        probe(replace(run, config=replace(run.config, runtime=runtime)), resources, 1)
    assert probed_machine(resources, 1).partition(" of ")[0] == recorded


@pytest.mark.usefixtures("two_gpus")
def test_runs_that_ask_for_a_gpu_and_get_none_are_not_probed_on_one(plan: Plan) -> None:
    run = plan.runs[0]
    runtime = replace(run.config.runtime, device="cuda")
    with pytest.raises(ConfigError, match=r"--probe: runtime\.device = 'cuda' .*gpus_per_worker"):
        probe(
            replace(run, config=replace(run.config, runtime=runtime)),
            ResourcesConfig(gpus_per_worker=0),
        )


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("text", "index"),
    [
        (STUDY.replace("device: cpu, ", ""), 1),
        (STUDY.replace("device: cpu, ", "") + "resources: {gpus_per_worker: 0}\n", 0),
        (STUDY, 0),
    ],
)
def test_a_probe_keeps_off_the_gpus_of_launches_and_holds_its_own(
    text: str, index: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = list[tuple[int, tuple[str, ...]]]()

    def probed(*_: Any) -> dict[str, Any]:
        free = gpu_locks.take_free(["0", "1"])
        taken.append((_[-1], free.names))
        free.release()
        return {}

    monkeypatch.setattr(module, "probe_all", probed)
    other = gpu_locks.take_free(["0"])
    rml("plan", write_study(tmp_path, text), "--out", tmp_path / "out", "--probe")
    other.release()
    assert taken == [(index, () if index else ("1",))]
