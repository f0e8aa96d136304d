"""Floating-point operations of a step, and the rate at which the device multiplies matrices."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from rml_trainers.bench.timing import Call, Yardstick


def count_flops(call: Call) -> int:
    """Operations of the matrix products, convolutions and attentions in one call, forward and backward.

    Nothing else is counted (distances, upsampling, cross entropies), and a multiplication with an addition is two.
    """
    with torch.compiler.set_stance("force_eager"), FlopCounterMode(display=False) as counter:
        call(0)
    total: int = counter.get_total_flops()
    return total


def matrix_product(device: torch.device, dtype: torch.dtype) -> Yardstick:
    """Square matrices in the networks' precision, large enough to keep the whole device busy."""
    size, times = (8192, 8) if device.type == "cuda" else (1536, 1)
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))

    def multiply(index: int) -> None:
        for _ in range(times):
            torch.mm(left, right)

    name = f"Matrix product of size {size} in {str(dtype).removeprefix('torch.')}"
    return Yardstick(name=name, call=multiply, flops=2 * size**3 * times)
