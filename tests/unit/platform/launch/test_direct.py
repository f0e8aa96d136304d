"""What a launch without Ray gives its runs, refuses, and does when its GPU fails; the GPUs are
names here."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from rml_platform.launch import direct
from rml_platform.launch.output_layout import OutputLayout
from rml_platform.launch.run_alone import run_alone
from rml_platform.launch.scheduling.turns import Turns
from rml_platform.launch.session import gpu_locks
from rml_platform.launch.sizing import sized_ahead
from rml_platform.planning.machine import Machine
from rml_platform.planning.plan import make_plan
from rml_platform.run import execute
from rml_platform.run.attempt import WorkerContext
from rml_platform.run.run_folder import RunFolder
from rml_platform.run.task import RunTask, config_to_json
from rml_platform.study.schema import load_study
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.errors import ConfigError, HubAwayError
from rml_trainers.networks.pretrained import hub
from tests.support.platform.fake_trainer import GOOD, FakeTrainer
from tests.support.platform.studies import SMALLEST, write_study
from tests.support.platform.tasks import fake_config, task_for

BROKEN = "CUDA error: an illegal memory access was encountered"
REST = """\
  schedule: {warm_up_steps: 5, stage_steps: []}
seeds: [1]
"""
STUDY = "name: tiny\n" + SMALLEST + REST


@pytest.fixture
def tasks(tiny_data: PreparedData, tmp_path: Path) -> list[RunTask]:
    config = fake_config(GOOD)
    auto = replace(config, runtime=replace(config.runtime, device="auto"))
    return [
        replace(
            task_for(config, tiny_data, tmp_path, f"run-{number}"),
            config_json=config_to_json(auto),
            study="tiny",
        )
        for number in (1, 2, 3)
    ]


@pytest.fixture
def carried_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[RunTask, int]]:
    """What is carried out on a machine of two GPUs, and on which; it trains nothing."""
    found: list[tuple[RunTask, int]] = []

    def trains_nothing(task: RunTask, context: WorkerContext, trainer_class: Any) -> str:
        found.append((task, context.local_index))
        return "done"

    monkeypatch.setattr(direct, "execute", trains_nothing)
    monkeypatch.setattr(torch.cuda, "set_device", lambda index: None)
    monkeypatch.delenv(gpu_locks.VISIBLE, raising=False)
    monkeypatch.setattr(gpu_locks, "SHORT", tmp_path)
    monkeypatch.setattr(Machine, "here", lambda: Machine(cores=4, gpus=2))
    return found


def carry_out(
    tasks: Sequence[RunTask],
    place: Path,
    *changes: str,
    on_note: Callable[[str], None] = lambda text: None,
) -> None:
    study = load_study(write_study(place, STUDY), changes)
    here = Machine.here()
    direct.carry_out_here(
        [sized_ahead(task, study, here, is_local=True, with_ray=False) for task in tasks],
        turns=Turns(),
        studies={"tiny": study},
        address=None,
        max_concurrent=None,
        ship=False,
        trainer_class=None,
        on_note=on_note,
    )


@pytest.mark.parametrize(("gpus", "given"), [("auto", 1.0), ("1", 1.0), ("0", 0.0)])
def test_a_run_is_given_what_its_study_says(
    gpus: str,
    given: float,
    tasks: list[RunTask],
    carried_out: list[tuple[RunTask, int]],
    tmp_path: Path,
) -> None:
    carry_out(tasks[:1], tmp_path, f"resources.gpus_per_worker={gpus}")
    task, index = carried_out[0]
    assert (task.gpus_per_worker, task.cpus_per_worker, task.execution) == (given, 4, "direct")
    assert index == 0


def test_a_run_that_wants_the_cpu_takes_no_gpu(
    tasks: list[RunTask], carried_out: list[tuple[RunTask, int]], tmp_path: Path
) -> None:
    config = json.loads(tasks[0].config_json)
    config["runtime"]["device"] = "cpu"
    others = gpu_locks.take_free(["0", "1"])
    carry_out([replace(tasks[0], config_json=json.dumps(config))], tmp_path)
    assert carried_out[0][0].gpus_per_worker == 0
    others.release()


def test_two_launches_on_one_machine_have_different_gpus(
    tasks: list[RunTask],
    carried_out: list[tuple[RunTask, int]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    current: list[int] = []
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    other = gpu_locks.take_free(["0"])
    given = [direct.given_here(task, 1) for task in tasks]
    with direct.gpu_for(given, lambda: True, pytest.fail) as index:
        assert (index, current) == (1, [1])
        assert gpu_locks.take_free(["1"]).names == ()
        with direct.gpu_for(given, lambda: False, lambda text: None) as none:
            assert none is None
    carry_out(tasks[:1], tmp_path)
    assert carried_out[0][1] == 1
    free = gpu_locks.take_free(["1"])
    assert free.names == ("1",), "given back"
    free.release()
    other.release()


def test_a_run_alone_takes_a_gpu_of_its_own(
    carried_out: list[tuple[RunTask, int]], tmp_path: Path
) -> None:
    study = load_study(write_study(tmp_path, STUDY))
    (run,) = make_plan(study, data_root=None, cache_root=tmp_path / "cache").runs
    other = gpu_locks.take_free(["0"])
    layout = OutputLayout(root=tmp_path, storage=str(tmp_path))
    run_alone(run, layout=layout, data_root=None, tracking_uri="none", console=Console(quiet=True))
    assert {(task.gpus_per_worker, index) for task, index in carried_out} == {(1.0, 1)}
    other.release()


def test_a_run_alone_is_not_begun_without_the_weights_of_its_networks(
    carried_out: list[tuple[RunTask, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = load_study(write_study(tmp_path, STUDY))
    (run,) = make_plan(study, data_root=None, cache_root=tmp_path / "cache").runs
    network = type(run.config.network)
    monkeypatch.setattr(network, "hub_model", property(lambda self: "resnet10t"))
    monkeypatch.setattr(hub, "_reachable", lambda endpoint: False)
    layout = OutputLayout(root=tmp_path, storage=str(tmp_path))
    quiet = Console(quiet=True)
    with pytest.raises(HubAwayError, match="weights_file"):
        run_alone(run, layout=layout, data_root=None, tracking_uri="none", console=quiet)
    assert carried_out == []


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("resources.accelerator=A100", "resources.accelerator"),
        ("resources.labels={market: spot}", "resources.labels"),
        ("resources.workers=2", "resources.workers"),
    ],
)
def test_what_one_process_of_this_machine_cannot_promise_is_refused(
    change: str,
    what: str,
    tasks: list[RunTask],
    carried_out: list[tuple[RunTask, int]],
    tmp_path: Path,
) -> None:
    with pytest.raises(ConfigError, match=f"--without-ray .* does not go with {what}"):
        carry_out(tasks, tmp_path, change)
    assert carried_out == []


@pytest.mark.usefixtures("carried_out")
def test_rules_that_nobody_follows_are_told(tasks: list[RunTask], tmp_path: Path) -> None:
    said: list[str] = []
    carry_out(tasks[:1], tmp_path, "retry.hang_at_least_s=60", "retry.lost=7", on_note=said.append)
    assert [text for text in said if "hang" in text] == [
        f"{tmp_path / 'study.yaml'}: --without-ray has nobody beside a run who would see it hang: "
        "retry.hang_at_least_s say nothing here"
    ]
    said.clear()
    carry_out(tasks[:1], tmp_path, on_note=said.append)
    assert not [text for text in said if "hang" in text]


@pytest.mark.parametrize("fails_again", [False, True])
def test_a_gpu_that_failed_ends_the_launch_and_leaves_the_rest(
    fails_again: bool, tasks: list[RunTask], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def release() -> None:
        raise RuntimeError(BROKEN)

    if fails_again:
        monkeypatch.setattr(execute, "release_memory", release)
    trained: list[str] = []

    class Broken(FakeTrainer):
        def _fail(self) -> None:
            trained.append("a step")
            raise RuntimeError(BROKEN)

    said: list[str] = []
    rules = load_study(write_study(tmp_path, STUDY)).retry
    for given in (rules, {"tiny": rules}):
        trained.clear()
        lost = direct.run_here(tasks, given, said.append, Broken)
        assert (lost, trained) == ({}, ["a step"]), "not tried again, and no other run either"
        assert "run-1 failed over its GPU" in said.pop()
    states = [RunFolder.of(task.storage, task.run_id).record().state for task in tasks]
    assert states == ["failed", "new", "new"]


def test_an_error_beside_a_run_is_not_swallowed(
    tasks: list[RunTask], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def release() -> None:
        raise RuntimeError("of another kind")

    monkeypatch.setattr(execute, "release_memory", release)
    rules = load_study(write_study(tmp_path, STUDY)).retry
    with pytest.raises(RuntimeError, match="of another kind"):
        direct.run_here(tasks, rules, pytest.fail, FakeTrainer)
