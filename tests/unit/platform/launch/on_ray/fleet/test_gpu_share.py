"""A part of a GPU is given only where a run like this one was measured, and took no more."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rml_platform.launch.on_ray.fleet.gpu_share import check_share
from rml_platform.run.attempt import WorkerContext
from rml_platform.run.execute import execute
from rml_platform.run.run_folder import DeviceMemory, RunFolder
from rml_platform.run.task import RunTask, config_to_json
from rml_platform.study.study_file import ResourcesConfig
from rml_trainers.config import BatchConfig, ScheduleConfig
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.errors import ConfigError
from tests.support.platform.fake_trainer import GOOD, FakeTrainer
from tests.support.platform.tasks import fake_config, task_for

GPU = "NVIDIA A100-SXM4-80GB"
TOTAL = 80_000_000_000


@pytest.fixture
def task(tiny_data: PreparedData, tmp_path: Path) -> RunTask:
    task = task_for(fake_config(GOOD), tiny_data, tmp_path, "scenes-4-supervised-s1-new")
    return replace(task, gpus_per_worker=0.5)


def measure(task: RunTask, peak: int, device: str = GPU, **changes: Any) -> None:
    """A finished run in the storage, of another seed and length, that took so many bytes."""
    config = replace(task.config, seed=0, schedule=ScheduleConfig(warm_up_steps=3, stage_steps=()))
    done = replace(
        task,
        run_id="scenes-4-supervised-s0-done",
        config_json=config_to_json(replace(config, **changes)),
        gpus_per_worker=1,
    )
    assert execute(done, WorkerContext(writer="before"), FakeTrainer) == "done"
    run = RunFolder.of(done.storage, done.run_id)
    result = run.result()
    assert result is not None
    assert result.memory is None  # on a CPU
    memory = DeviceMemory(peak_bytes=peak, device_bytes=TOTAL)
    run.write_result(replace(result, memory=memory, device=device))


def test_whole_gpus_need_no_measurement(task: RunTask) -> None:
    for gpus in (0, 1, 4):
        check_share([replace(task, gpus_per_worker=gpus)], ["A100", "H100"])


def test_what_was_never_measured_is_refused_with_the_way_to_measure(task: RunTask) -> None:
    with pytest.raises(ConfigError, match=r"0\.5: no run like scenes-4.*-new has been measured on"):
        check_share([task], ["A100"])


def test_a_measured_run_that_fits_is_let_through(task: RunTask) -> None:
    measure(task, peak=38_000_000_000)
    check_share([task], ["A100"])
    check_share([replace(task, accelerator="A100")], ["A100", "H100"])
    check_share([task], [])


def test_one_that_took_more_is_refused_with_what_it_takes(task: RunTask) -> None:
    measure(task, peak=42_000_000_000)
    with pytest.raises(ConfigError, match=r"takes 43\.0 GB of a NVIDIA A100.* at least 0\.54"):
        check_share([task], ["A100"])


@pytest.mark.parametrize("what", ["batch", "kind", "workers"])
def test_another_run_or_another_gpu_says_nothing(task: RunTask, what: str) -> None:
    changes = {"batch": BatchConfig(labelled=4)} if what == "batch" else {}
    measure(task, peak=1, device="NVIDIA H100" if what == "kind" else GPU, **changes)
    asked = replace(task, num_workers=2) if what == "workers" else task
    with pytest.raises(ConfigError, match="has been measured on a whole A100"):
        check_share([asked], ["A100"])


@pytest.mark.parametrize(
    ("kind", "measured_on"), [("A10", GPU), ("L4", "NVIDIA L40S"), ("A10", "NVIDIA A10G")]
)
def test_a_gpu_whose_name_only_begins_alike_is_another(
    task: RunTask, kind: str, measured_on: str
) -> None:
    measure(task, peak=1, device=measured_on)
    for asked in (task, replace(task, accelerator=kind)):
        with pytest.raises(ConfigError, match=f"has been measured on a whole {kind}"):
            check_share([asked], [kind])


def test_with_gpus_of_several_kinds_one_has_to_be_named(task: RunTask) -> None:
    with pytest.raises(ConfigError, match=r"several kinds \(A100, H100\).*resources\.accelerator"):
        check_share([task], ["H100", "A100"])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"gpus_per_worker": 1.5}, "a whole number, or less than one"),
        ({"gpus_per_worker": 0.5, "workers": 2}, "1 on a part of a GPU"),
        ({"gpus_per_worker": 0, "accelerator": "A100"}, "none where gpus_per_worker is 0"),
        ({"labels": {"zone": "a b"}}, r"a value, !value, in\(a,b\)"),
        ({"labels": {"zone": ""}}, r"a value, !value, in\(a,b\)"),
    ],
)
def test_resources_that_cannot_be(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ResourcesConfig(**values)


def test_labels_as_ray_selects_by_them() -> None:
    labels = {"zone": "a", "market": "!spot", "gpu": "in(a100, h100)", "rack": "!in(1,2)"}
    assert ResourcesConfig(labels=labels).labels == labels
