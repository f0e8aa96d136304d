"""The device that a run was given, which is not always there."""

import torch

from rml_platform.run.task import RunTask
from rml_trainers.errors import DeviceError
from rml_trainers.runtime.device import RequestedDevice, choose_device


class MissingGpuError(DeviceError):
    """A worker was given GPUs, and torch sees fewer: a fault of its node, not of the study."""


def given_device(task: RunTask, local_index: int) -> torch.device:
    """The device of a worker, as `choose_device` has it.

    Where the run was given GPUs, `auto` is one of them and never the CPU: a run that trained there
    would hold a GPU that it does not use, and nobody would see why it is slow. Where it was given
    none, `auto` is the CPU, also where torch sees a GPU, which may be another run's. `cpu` stays
    the CPU.

    Args:
        local_index: which of the GPUs visible to this process.
    Raises:
        MissingGpuError: the run was given GPUs, and this worker's is not there.
        DeviceError: it was given none, and its configuration asks for one.
    """
    return device_with(task.config.runtime.device, task.gpus_per_worker, local_index)


def device_with(requested: RequestedDevice, gpus: float, local_index: int) -> torch.device:
    """As `given_device`, of a worker that is given so many GPUs and whose configuration requests a
    device."""
    if requested == "cpu" or (requested == "auto" and gpus == 0):
        return choose_device("cpu")
    if gpus == 0:
        return choose_device(requested, local_index)
    try:
        return choose_device("cuda", local_index)
    except DeviceError as error:
        raise MissingGpuError(
            f"this worker was given {gpus:g} GPU, and torch sees "
            f"{torch.cuda.device_count()} on its node: `nvidia-smi` and `rml doctor` there tell "
            "why; a cluster that only pretends to have GPUs needs runtime.device = 'cpu'"
        ) from error
