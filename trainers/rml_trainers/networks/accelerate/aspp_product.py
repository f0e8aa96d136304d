"""Deeplabv2's summed ASPP for CPUs: one matrix product for all taps of all branches, then shifted
and added.

Its dilated convolutions have as many outputs as there are classes, which fills oneDNN's kernels
badly.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional


class Tap(NamedTuple):
    """One weight of a branch's 3×3 kernel, and the cell it reads, counted from the cell that it
    adds to."""

    branch: int
    row: int
    column: int
    down: int
    right: int


def taps_of(rates: Sequence[int], size: tuple[int, int]) -> list[Tap]:
    """Taps that see anything of a map: those that a dilation carries out of it only ever read
    padding."""
    taps = [
        Tap(branch, i, j, (i - 1) * rate, (j - 1) * rate)
        for branch, rate in enumerate(rates)
        for i in range(3)
        for j in range(3)
    ]
    return [tap for tap in taps if abs(tap.down) < size[0] and abs(tap.right) < size[1]]


def summed_aspp(maps: Tensor, weight: Tensor, bias: Tensor, rates: Sequence[int]) -> Tensor:
    """Sum of 3×3 convolutions that keep the size, dilated by `rates`: [B, K, h, w] in the type of
    the maps.

    Products are rounded to that type, their sum is taken in float32.

    Args:
        maps: [B, C, h, w].
        weight: [N, K, C, 3, 3], a kernel for each of N rates.
        bias: [N, K].
        rates: dilations.
    """
    result: Tensor = _SummedAspp.apply(maps, weight, bias, tuple(rates))
    return result


class _SummedAspp(torch.autograd.Function):
    """Keeps the maps and the chosen weights, as the convolutions would."""

    @staticmethod
    def forward(
        ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor, rates: tuple[int, ...]
    ) -> Tensor:
        batch, _, height, width = maps.shape
        taps = taps_of(rates, (height, width))
        chosen = torch.stack([weight[tap.branch, :, :, tap.row, tap.column] for tap in taps])
        kernels = chosen.flatten(0, 1)[:, :, None, None].contiguous(
            memory_format=torch.channels_last
        )
        maps = maps.contiguous(memory_format=torch.channels_last)
        ctx.save_for_backward(maps, kernels)
        ctx.taps = taps
        ctx.shape = weight.shape
        products = _as_cells(functional.conv2d(maps, kernels, dilation=2), len(taps))
        total = (
            bias.sum(dim=0)
            .to(torch.promote_types(maps.dtype, torch.float32))
            .expand(batch, height, width, -1)
            .clone()
        )
        for number, tap in enumerate(taps):
            to, source = _windows(tap, (height, width))
            total[to] += products[source][..., number, :]
        return total.permute(0, 3, 1, 2).to(maps.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (maps, kernels) = ctx.saved_tensors
        taps = ctx.taps
        (batch, num_outputs, height, width) = gradient.shape
        of_products = gradient.new_zeros(batch, height, width, len(taps), num_outputs)
        cells = gradient.permute(0, 2, 3, 1)
        for number, tap in enumerate(taps):
            to, source = _windows(tap, (height, width))
            of_products[source][..., number, :] = cells[to]
        wanted = [*ctx.needs_input_grad[:2], False]
        of_maps, of_kernels, _ = torch.ops.aten.convolution_backward(
            of_products.flatten(3).permute(0, 3, 1, 2),
            *(maps, kernels, None, [1, 1], [0, 0], [2, 2], False, [0, 0], 1, wanted),
        )
        of_weight = None
        if of_kernels is not None:
            of_weight = maps.new_zeros(ctx.shape)
            for tap, of_tap in zip(taps, of_kernels.split(num_outputs), strict=True):
                of_weight[tap.branch, :, :, tap.row, tap.column] = of_tap[..., 0, 0]
        of_bias = gradient.sum((0, 2, 3), dtype=torch.promote_types(gradient.dtype, torch.float32))
        # Repeated, not expanded: gradients that share memory would be added to one another by a
        # second backward pass.
        return of_maps, of_weight, of_bias.repeat(ctx.shape[0], 1), None


def _as_cells(maps: Tensor, num_taps: int) -> Tensor:
    """[B, T · K, h, w], channels last → [B, h, w, T, K], a view."""
    batch, channels, height, width = maps.shape
    return maps.permute(0, 2, 3, 1).reshape(batch, height, width, num_taps, channels // num_taps)


def _windows(tap: Tap, size: tuple[int, int]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Cells that a tap adds to and the cells it reads for them, as slices of [B, h, w, …]."""
    sides = list(zip((tap.down, tap.right), size, strict=True))
    to = [slice(max(0, -shift), length - max(0, shift)) for shift, length in sides]
    source = [slice(max(0, shift), length - max(0, -shift)) for shift, length in sides]
    return (slice(None), *to), (slice(None), *source)
