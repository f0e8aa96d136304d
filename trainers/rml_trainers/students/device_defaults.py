"""What `RuntimeConfig` leaves open, decided for the device and the precision of a run.

On a GPU that is plain torch: nothing is computed again and losses take the whole batch, for no GPU
has been measured with anything else.
"""

import torch

from rml_trainers.networks.accelerate import Recompute
from rml_trainers.runtime.options import RuntimeConfig

CHUNK_MIB_ON_A_CPU = 16
"""Chunks of this size stay in the caches; see `pixel_losses.py`."""


def what_is_recomputed(
    runtime: RuntimeConfig, device: torch.device, dtype: torch.dtype
) -> Recompute:
    """`activation_checkpointing`, with `auto` resolved for networks that run in `dtype`."""
    if runtime.activation_checkpointing != "auto":
        return runtime.activation_checkpointing
    pays = device.type == "cpu" and dtype == torch.float32 and not runtime.compile
    return "batchnorm" if pays else "none"


def loss_chunk_mib(runtime: RuntimeConfig, device: torch.device) -> int:
    """`loss_chunk_mib`, or what it is by default on this device (0: the whole batch)."""
    if runtime.loss_chunk_mib is not None:
        return runtime.loss_chunk_mib
    return CHUNK_MIB_ON_A_CPU if device.type == "cpu" else 0
