"""How much of its device a process uses, told by the allocator and the driver; never waits for the
device."""

import importlib
import importlib.util
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class DeviceUse:
    """Of a GPU at one moment."""

    memory_bytes: int
    """What this process has reserved."""
    busy_percent: float | None
    """Of the driver's last sample period (a second or less); None where NVML cannot be asked."""


def device_use(device: torch.device) -> DeviceUse | None:
    """What the process uses of a GPU; None on a CPU.

    NVML is asked through torch where the package nvidia-ml-py is installed (`rml[gpu]`).
    """
    if device.type != "cuda":
        return None
    return DeviceUse(torch.cuda.memory_reserved(device), _busy_percent(device))


def _busy_percent(device: torch.device) -> float | None:
    if importlib.util.find_spec("pynvml") is None:
        return None
    nvml = importlib.import_module("pynvml")
    try:
        return float(torch.cuda.utilization(device))
    except (RuntimeError, nvml.NVMLError):  # no driver that answers: a container without NVML
        return None
