"""What torch does not promise to keep: the names that this room uses, and whether this torch has
them.

A torch without one of them costs speed or memory, never a run: the form that needs it is left out.
"""

from collections.abc import Iterable
from operator import attrgetter

import torch
from torch import Tensor

CONVOLUTION_BACKWARD = "ops.aten.convolution_backward"
"""`torch.nn.grad.conv2d_input` is public and computes the same, but its result is never channels
last: 26 ms instead of 3.8 ms for maps [128, 1152, 3, 4] and depthwise kernels of 5×5."""
HARDTANH_BACKWARD = "ops.aten.hardtanh_backward"
NORMALISING = (
    "native_batch_norm",
    "ops.aten.native_batch_norm_backward",
    "ops.aten.threshold_backward",
    HARDTANH_BACKWARD,
    "ops.aten.silu_backward",
    "ops.aten.hardswish_backward",
)
"""BatchNorm that says what its statistics were, its gradient, and those of activations."""
VERSION = "Tensor._version"
"""How often a tensor has been written to."""
COPY_ALL = "_foreach_copy_"


def missing(names: Iterable[str]) -> list[str]:
    """Those of these names, counted from `torch.`, that this torch does not have."""
    return [f"torch.{name}" for name in names if not _is_there(name)]


def copy_all(targets: list[Tensor], sources: list[Tensor]) -> None:
    """Copy tensors in one call where this torch can, else one by one."""
    if targets and _is_there(COPY_ALL):
        torch._foreach_copy_(targets, sources)
        return
    for target, source in zip(targets, sources, strict=True):
        target.copy_(source)


def _is_there(name: str) -> bool:
    try:
        return attrgetter(name)(torch) is not None
    except AttributeError:
        return False
