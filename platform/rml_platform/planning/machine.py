"""What the machine at hand can give to a run."""

import os
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Machine:
    """Cores and GPUs that this process may use."""

    cores: int
    gpus: int

    @classmethod
    def here(cls) -> "Machine":
        # A container or batch system gives fewer cores than the host has.
        cores = (
            len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count() or 1
        )
        return cls(cores=cores, gpus=torch.cuda.device_count())
