"""Which device a run uses and what it can do. The choice is ours, never made by a scheduler's
bookkeeping."""

import contextlib
import ctypes
import ctypes.util
import functools
import gc
from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import torch

from rml_trainers.errors import DeviceError

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
"""Of glibc's malloc.h."""
_LARGEST = 2**31 - 1
_LARGEST_ONCE = 32 * 2**20
_NEVER = -1
"""Bytes from which a block is mapped: the most that glibc takes, and the most that older ones took,
where glibc's own choice ends too; and no trimming at all."""


RequestedDevice = Literal["auto", "cpu", "cuda"]


def choose_device(requested: RequestedDevice, local_index: int = 0) -> torch.device:
    """The device that is really there.

    Args:
        requested: `auto` takes a GPU when torch can use one, else the CPU.
        local_index: which of the GPUs visible to this process.
    Raises:
        DeviceError: `cuda` was asked for and torch sees no usable GPU, or fewer than needed.
    """
    available = torch.cuda.is_available()
    if requested == "cpu" or (requested == "auto" and not available):
        return torch.device("cpu")
    if not available:
        raise DeviceError(
            "runtime.device = 'cuda': torch sees no usable GPU on this machine; "
            "run `rml doctor`, or set runtime.device to 'cpu' or 'auto'"
        )
    if local_index >= torch.cuda.device_count():
        raise DeviceError(
            f"worker {local_index} of this machine needs its own GPU; torch sees "
            f"{torch.cuda.device_count()}"
        )
    return torch.device("cuda", local_index)


def compute_dtype(
    precision: Literal["auto", "float32", "bfloat16"], device: torch.device
) -> torch.dtype:
    """Type of the matrix products: bf16 where the GPU has it, unless the configuration says
    otherwise."""
    if precision == "auto":
        return (
            torch.bfloat16
            if device.type == "cuda" and torch.cuda.is_bf16_supported()
            else torch.float32
        )
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def cpu_multiplies_bf16() -> bool:
    """Whether the CPU has instructions for matrix products in bf16; False where torch is too old to
    say."""
    capabilities: Callable[[], Mapping[str, object]] | None = getattr(
        torch.cpu, "get_capabilities", None
    )
    known = {} if capabilities is None else capabilities()
    return any(bool(known.get(name)) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def autocast(device: torch.device, dtype: torch.dtype) -> contextlib.AbstractContextManager[object]:
    """Autocast to bf16, or nothing for float32."""
    if dtype == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=dtype)


def prepare_device(device: torch.device, *, tf32: bool, keep_memory: bool) -> None:
    """Settings of this process for training.

    On a GPU: training crops have one size, so cuDNN may try its kernels once and keep the fastest.
    Matrix products outside convolutions stay in full float32: distances to prototypes are
    differences of large numbers. On a CPU: see `keep_freed_memory`.
    """
    if device.type == "cpu":
        keep_freed_memory(keep_memory)
    else:
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = tf32


@contextlib.contextmanager
def searching_kernels(worth_it: bool) -> Iterator[None]:
    """Where image sizes vary, cuDNN must not try its kernels anew for each of them."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = before and worth_it
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def keep_freed_memory(keep: bool = True) -> None:
    """What a step frees stays with the process for the next step, until `release_memory`.

    Or no longer does: what grows from then on goes back, as glibc would have it without us.

    glibc otherwise maps large tensors anew each time, and the system clears their pages: 16,000 to
    40,000 page faults per step, 5 to 10 % of its time (measured, tf_efficientnet_lite0), and a
    third at the paper's Cityscapes setting, where the process holds a quarter more for it.
    Elsewhere nothing is changed.
    """
    library = _glibc()
    if library is not None:
        if not (keep and library.mallopt(_M_MMAP_THRESHOLD, _LARGEST)):
            library.mallopt(_M_MMAP_THRESHOLD, _LARGEST_ONCE)
        library.mallopt(_M_TRIM_THRESHOLD, _NEVER if keep else 2 * _LARGEST_ONCE)


@functools.cache
def _glibc() -> ctypes.CDLL | None:
    name = ctypes.util.find_library("c")
    library = None if name is None else ctypes.CDLL(name)
    return library if library is not None and hasattr(library, "malloc_trim") else None


def release_memory() -> None:
    """Give back what finished work held, to the operating system too.

    glibc keeps what was freed: a process in which a step had run still held 1.3 GB after its
    networks were gone, and 0.88 GB after this (0.77 GB were the libraries; measured,
    tf_efficientnet_lite0). Elsewhere only caches are emptied.
    """
    gc.collect()
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()


def watch_peak_memory(device: torch.device) -> None:
    """Let `peak_memory` count from here on."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> tuple[int, int] | None:
    """Most bytes that this process had reserved of a GPU, cuDNN's search for kernels included where
    that fell into it, and the bytes that the GPU has; None on a CPU."""
    if device.type != "cuda":
        return None
    total = torch.cuda.get_device_properties(device).total_memory
    return torch.cuda.max_memory_reserved(device), total
