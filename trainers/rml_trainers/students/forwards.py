"""How the networks of a training step are called: as they are or compiled, in turn or on streams of
their own.

Evaluation and the pass that makes p⁰ call the networks themselves: their image sizes vary, and they
take little time.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from rml_trainers.errors import DeviceError
from rml_trainers.networks.network import SegmentationOutput

Forward = Callable[[Tensor], SegmentationOutput]
BACKEND = "inductor"
OPTIONS = {"fallback_random": True}
"""Dropout draws what it would draw without compilation, so that the same seed trains the same
network."""


def forwards_of(networks: Iterable[nn.Module], *, compiled: bool) -> list[Forward]:
    """What to call for a forward of each network; its parameters, their names and its copies know
    nothing of it."""
    modules: list[nn.Module] = list(networks)
    if not compiled:
        return [cast(Forward, module) for module in modules]
    return [
        torch.compile(module, backend=BACKEND, dynamic=False, options=dict(OPTIONS))
        for module in modules
    ]


def require_compiler(device: torch.device) -> None:
    """Compile and run one addition.

    Raises:
        DeviceError: torch cannot compile on this machine.
    """
    try:
        torch.compile(lambda x: x + 1, backend=BACKEND, dynamic=False)(
            torch.zeros(2, device=device)
        )
    # of many kinds: no C++ compiler, no Triton, a Python or platform it does not support
    except Exception as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise DeviceError(
            f"runtime.compile = true: torch.compile does not work on this machine ({reason}); a "
            "CPU needs a C++ "
            "compiler, a GPU needs Triton; install it or set runtime.compile to false"
        ) from error


def one_by_one(
    forwards: Sequence[Forward], images: Sequence[Tensor]
) -> tuple[SegmentationOutput, ...]:
    """Each network on its images."""
    return tuple(forward(x) for forward, x in zip(forwards, images, strict=True))


def side_by_side(
    forwards: Sequence[Forward], images: Sequence[Tensor]
) -> tuple[SegmentationOutput, ...]:
    """The same on one CUDA stream per network; autograd runs each backward on the stream of its
    forward."""
    current = torch.cuda.current_stream()
    streams = [torch.cuda.Stream() for _ in forwards]  # type: ignore[no-untyped-call]
    outputs = []
    for forward, x, stream in zip(forwards, images, streams, strict=True):
        stream.wait_stream(current)
        x.record_stream(stream)
        with torch.cuda.stream(stream):
            outputs.append(forward(x))
    for stream, output in zip(streams, outputs, strict=True):
        current.wait_stream(stream)
        for maps in (output.logits, output.feature, output.projected, *output.encoded):
            if maps is not None:
                maps.record_stream(current)
    return tuple(outputs)
