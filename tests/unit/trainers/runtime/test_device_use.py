"""What is told of a device in use: only what is there to be told."""

import sys
import types

import pytest
import torch

from rml_trainers.runtime.device_use import DeviceUse, device_use

GPU = torch.device("cuda", 0)


class NVMLError(Exception):
    pass


def test_a_cpu_tells_nothing() -> None:
    assert device_use(torch.device("cpu")) is None


@pytest.mark.parametrize("has_nvml", [False, True])
@pytest.mark.parametrize("answers", [False, True])
def test_memory_is_the_allocators_and_work_the_drivers(
    has_nvml: bool, answers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def utilization(device: torch.device) -> int:
        if not answers:
            raise NVMLError("no driver")
        return 87

    nvml = types.ModuleType("pynvml")
    nvml.NVMLError = NVMLError  # type: ignore[attr-defined]
    nvml.__spec__ = __spec__
    monkeypatch.setitem(sys.modules, "pynvml", nvml if has_nvml else None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: has_nvml or None)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 5)
    monkeypatch.setattr(torch.cuda, "utilization", utilization)
    assert device_use(GPU) == DeviceUse(5, 87.0 if has_nvml and answers else None)
