"""Floating-point operations of a step, and the rate at which the device multiplies matrices."""

import math
from collections.abc import Sequence

import torch
from torch.utils.flop_counter import FlopCounterMode

from rml_benchmarks.measuring.timing import Call, Yardstick


def count_flops(call: Call) -> int:
    """Operations of the matrix products, convolutions and attentions in one call, forward and
    backward.

    Nothing else is counted (distances, upsampling, cross entropies), and a multiplication with an
    addition is two.
    """
    counter = FlopCounterMode(
        display=False, custom_mapping={torch.ops.aten.convolution_backward: _convolution_backward}
    )
    with torch.compiler.set_stance("force_eager"), counter:
        call(0)
    total: int = counter.get_total_flops()
    return total


def _convolution_backward(
    gradient: Sequence[int],
    maps: Sequence[int],
    weight: Sequence[int],
    *others: object,
    **named: object,
) -> int:
    """Gradients of input and weight cost as much as the forward pass each; shapes stand for the
    tensors.

    torch's own formula (2.15) does not know groups and counts a depthwise convolution as many times
    as it has channels.
    """
    transposed = others[4]
    wanted = others[7]
    assert isinstance(transposed, bool) and isinstance(wanted, Sequence)
    forward = 2 * math.prod(maps if transposed else gradient) * math.prod(weight[1:])
    return forward * (int(wanted[0]) + int(wanted[1]))


def matrix_product(device: torch.device, dtype: torch.dtype) -> Yardstick:
    """Square matrices in the networks' precision, large enough to keep the whole device busy."""
    size, times = (8192, 8) if device.type == "cuda" else (1536, 1)
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))

    def multiply(index: int) -> None:
        for _ in range(times):
            torch.mm(left, right)

    name = f"Matrix product of size {size} in {str(dtype).removeprefix('torch.')}"
    return Yardstick(name=name, call=multiply, flops=2 * size**3 * times)
