"""A run that was given GPUs trains on one or says that its node has none."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from rml_platform.run.attempt import WorkerContext
from rml_platform.run.execute import execute
from rml_platform.run.faults.given_device import MissingGpuError, given_device
from rml_platform.run.run_folder import RunFolder
from rml_platform.run.task import RunTask
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.errors import DeviceError
from rml_trainers.runtime.options import RuntimeConfig
from tests.support.platform.fake_trainer import GOOD, FakeTrainer
from tests.support.platform.tasks import fake_config, task_for


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets torch see so many GPUs."""

    def see(count: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    see(0)
    return see


@pytest.fixture
def task_of(tiny_data: PreparedData, tmp_path: Path) -> Any:
    def made(device: str, gpus: float) -> RunTask:
        config = fake_config(GOOD)
        runtime: RuntimeConfig = replace(config.runtime, device=device)  # type: ignore[arg-type]
        config = replace(config, runtime=runtime)
        return task_for(config, tiny_data, tmp_path, "run-1", gpus_per_worker=gpus)

    return made


def test_a_run_without_gpus_takes_one_only_where_its_configuration_says_so(
    task_of: Any, gpus: Any
) -> None:
    assert given_device(task_of("auto", 0.0), 0).type == "cpu"
    with pytest.raises(DeviceError, match="torch sees no usable GPU on this machine") as caught:
        given_device(task_of("cuda", 0.0), 0)
    assert not isinstance(caught.value, MissingGpuError)
    gpus(1)
    assert given_device(task_of("auto", 0.0), 0).type == "cpu", "it is another run's"
    assert given_device(task_of("cuda", 0.0), 0) == torch.device("cuda", 0)


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_a_given_gpu_that_is_not_there_is_told(task_of: Any, gpus: Any, device: str) -> None:
    task = task_of(device, 0.5)
    with pytest.raises(MissingGpuError, match=r"was given 0\.5 GPU, and torch sees 0 on its node"):
        given_device(task, 0)
    gpus(1)
    assert given_device(task, 0) == torch.device("cuda", 0)
    with pytest.raises(MissingGpuError, match="torch sees 1 on its node"):
        given_device(task, 1)


def test_who_asks_for_the_cpu_gets_it_whatever_the_cluster_gave(task_of: Any, gpus: Any) -> None:
    gpus(1)
    assert given_device(task_of("cpu", 1.0), 0).type == "cpu"


def test_the_failure_names_the_node_before_there_is_a_heartbeat(task_of: Any, gpus: Any) -> None:
    task = task_of("auto", 1.0)
    context = WorkerContext(writer=task.launch_id, node="node-a")
    assert execute(task, context, FakeTrainer) == "failed"
    folder = RunFolder.of(task.storage, task.run_id)
    failure = folder.failure()
    assert failure is not None
    assert (failure.kind, failure.node, folder.heartbeat()) == ("MissingGpuError", "node-a", None)
