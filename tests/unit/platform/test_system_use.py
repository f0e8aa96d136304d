"""What runs say of their machine, where somebody asks for it."""

import math

import pytest

from rml_platform.system_use import SystemUse
from rml_trainers.runtime.device_use import DeviceUse

ALWAYS = {
    "system/cpu_utilization_percentage",
    "system/process_cpu_utilization_percentage",
    "system/system_memory_usage_megabytes",
    "system/system_memory_usage_percentage",
    "system/process_memory_usage_megabytes",
    "system/disk_usage_percentage",
    "system/disk_available_megabytes",
}


def test_it_measures_the_machine_and_the_process() -> None:
    found = SystemUse(lambda: None)()
    assert found.keys() >= ALWAYS
    assert all(math.isfinite(value) and value >= 0 for value in found.values())
    memory = found["system/process_memory_usage_megabytes"]
    assert 1 < memory < found["system/system_memory_usage_megabytes"] + memory
    assert not any("gpu" in name for name in found)


@pytest.mark.parametrize("busy", [None, 37.5])
def test_a_gpu_is_told_of_as_far_as_its_driver_answers(busy: float | None) -> None:
    found = SystemUse(lambda: DeviceUse(memory_bytes=2_000_000, busy_percent=busy))()
    assert found["system/gpu_0_memory_usage_megabytes"] == 2.0
    assert found.get("system/gpu_0_utilization_percentage") == busy
