"""A depthwise convolution for CPUs, put together from the calls that oneDNN is fast at. Same result
up to rounding.

Two students of tf_efficientnet_lite0 at output stride 8 do this six times a step on maps
[128, 1152, 3, 4] with kernels of 5×5.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from rml_trainers.runtime.device import cpu_multiplies_bf16

WIDEST_FAST = 3
"""Columns of a kernel up to which oneDNN's depthwise routine for gradients of weights is used."""


def depthwise(
    maps: Tensor, weight: Tensor, *, stride: int = 1, padding: int = 0, dilation: int = 1
) -> Tensor:
    """Depthwise convolution of maps [B, C, h, w] with kernels [C, 1, k, k], k odd, all alike in
    both directions.

    With dilation d > 1 it keeps the size (`padding` is d · (k − 1) / 2, the stride 1): every d-th
    row and column meet each other only, so the map is d² maps that an ordinary convolution takes as
    so many images.
    """
    assert dilation == 1 or (stride == 1 and padding == dilation * (weight.shape[-1] // 2))
    result: Tensor = _Depthwise.apply(maps, weight, stride, padding, dilation)
    return result


class _Depthwise(torch.autograd.Function):
    """Keeps for the backward pass what the plain convolution would keep."""

    @staticmethod
    def forward(
        ctx: Any, maps: Tensor, weight: Tensor, stride: int, padding: int, dilation: int
    ) -> Tensor:
        ctx.save_for_backward(maps, weight)
        ctx.stride = stride
        ctx.padding = padding
        ctx.dilation = dilation
        channels = weight.shape[0]
        kernel = weight.shape[-1]
        if dilation == 1 or (kernel - 1) * dilation < min(maps.shape[-2:]):
            return functional.conv2d(maps, weight, None, stride, padding, dilation, channels)
        # No fast forward either where the dilated kernel is wider than the map.
        apart = functional.conv2d(
            taken_apart(maps, dilation), weight, padding=kernel // 2, groups=channels
        )
        return put_together(apart, dilation, (maps.shape[-2], maps.shape[-1]))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        maps, weight = ctx.saved_tensors
        dtype = _dtype_of_gradients(maps.dtype, ctx.stride)
        of_maps, of_weight = _of_both(
            gradient.to(dtype),
            maps.to(dtype),
            weight.to(dtype),
            (ctx.stride, ctx.padding, ctx.dilation),
            ctx.needs_input_grad[:2],
        )
        of_maps = None if of_maps is None else of_maps.to(maps.dtype)
        of_weight = None if of_weight is None else of_weight.to(weight.dtype)
        return of_maps, _laid_out(of_weight, weight), None, None, None


def _laid_out(of_weight: Tensor | None, weight: Tensor) -> Tensor | None:
    """With the weight's strides, which DDP compares; one channel per kernel lies in memory alike
    whatever they say."""
    return (
        None
        if of_weight is None
        else of_weight.contiguous().as_strided(weight.shape, weight.stride())
    )


def _dtype_of_gradients(dtype: torch.dtype, stride: int) -> torch.dtype:
    """The type that gradients are computed in: float32 for bf16 where oneDNN has no fast routine
    for bf16, which is with strides, and on CPUs without instructions for it.

    On the oldest of those (no AVX-512) torch's own routine takes over, which adds one image after
    the other to the gradient of the weights and rounds each sum to bf16. The d² maps that a
    dilation of d is taken apart into count as so many images, so the error would grow with d.
    """
    if stride == 1 and (dtype != torch.bfloat16 or cpu_multiplies_bf16()):
        return dtype
    return torch.promote_types(dtype, torch.float32)


def _of_both(
    gradient: Tensor,
    maps: Tensor,
    weight: Tensor,
    geometry: tuple[int, int, int],
    wanted: tuple[bool, bool],
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of maps and weights, those that are wanted; `geometry`: stride, padding,
    dilation."""
    stride, padding, dilation = geometry
    if stride > 1:
        return _gradients(gradient, maps, weight, stride, (padding, padding), wanted)
    size = (maps.shape[-2], maps.shape[-1])
    wants_maps, wants_weight = wanted
    if dilation > 1:
        gradient = taken_apart(gradient, dilation)
        padding = weight.shape[-1] // 2
        maps = taken_apart(maps, dilation) if wants_weight else gradient
    of_maps = of_weight = None
    if wants_maps:
        of_maps = gradient_of_maps(gradient, maps, weight, padding)
        of_maps = put_together(of_maps, dilation, size) if dilation > 1 else of_maps
    if wants_weight:
        of_weight = gradient_of_weight(gradient, maps, weight.shape[-1], padding)
    return of_maps, of_weight


def gradient_of_maps(gradient: Tensor, maps: Tensor, weight: Tensor, padding: int) -> Tensor:
    """Of an undilated convolution with stride 1; `maps` only lend their shape: [B, C, h, w]."""
    of_maps, _ = _gradients(gradient, maps, weight, 1, (padding, padding), (True, False))
    assert of_maps is not None
    return of_maps


def gradient_of_weight(gradient: Tensor, maps: Tensor, kernel: int, padding: int) -> Tensor:
    """Of an undilated convolution with stride 1, in pieces of the kernel that oneDNN is fast at:
    [C, 1, k, k].

    Its routine wants at most three columns, and no fewer rows in the map than in the kernel.

    Args:
        gradient: of the convolution's result, [B, C, h', w'].
        maps: what it was computed from, [B, C, h, w].
        kernel: rows and columns, odd.
        padding: zeros around `maps`.
    """
    if kernel <= WIDEST_FAST or padding != kernel // 2:
        return _of_weight(gradient, maps, (kernel, kernel), (padding, padding))
    rows = _pieces(kernel, WIDEST_FAST if maps.shape[-2] < kernel else kernel)
    columns = _pieces(kernel, WIDEST_FAST)
    parts = [torch.cat([_of_piece(gradient, maps, r, c) for c in columns], dim=-1) for r in rows]
    return torch.cat(parts, dim=-2)


def _pieces(kernel: int, widest: int) -> list[range]:
    """Offsets from the middle of a kernel, in runs of at most `widest` (odd); the middle run is
    symmetric."""
    reach = kernel // 2
    half = widest // 2
    after = [
        range(first, min(first + widest, reach + 1)) for first in range(half + 1, reach + 1, widest)
    ]
    before = [range(1 - run.stop, 1 - run.start) for run in reversed(after)]
    return [*before, range(-half, half + 1), *after]


def _of_piece(gradient: Tensor, maps: Tensor, rows: range, columns: range) -> Tensor:
    """Of the kernel's weights at these offsets: [C, 1, len(rows), len(columns)]."""
    padding = []
    for dim, offsets in ((-2, rows), (-1, columns)):
        gradient, maps, around = _facing(gradient, maps, dim, offsets)
        padding.append(around)
    if gradient.numel() == 0:
        return maps.new_zeros(maps.shape[1], 1, len(rows), len(columns))
    return _of_weight(gradient, maps, (len(rows), len(columns)), (padding[0], padding[1]))


def _of_weight(
    gradient: Tensor, maps: Tensor, kernel: tuple[int, int], padding: tuple[int, int]
) -> Tensor:
    gradient, maps = (x.contiguous(memory_format=torch.channels_last) for x in (gradient, maps))
    _, of_weight = _gradients(
        gradient, maps, maps.new_empty(maps.shape[1], 1, *kernel), 1, padding, (False, True)
    )
    assert of_weight is not None
    return of_weight


def _facing(gradient: Tensor, maps: Tensor, dim: int, offsets: range) -> tuple[Tensor, Tensor, int]:
    """What of both these offsets bring together in one direction, and how many zeros the
    convolution is to put around.

    Offsets around the middle need all of both. Others: only what is not pushed out, so many fewer
    rows or columns.
    """
    if offsets.start + offsets.stop == 1:
        return gradient, maps, offsets.stop - 1
    nearest = min(map(abs, offsets))
    away = len(offsets) - 1
    length = max(0, maps.shape[dim] - nearest)
    start = 0 if offsets.start > 0 else maps.shape[dim] - length
    filled = (0, away) if offsets.start > 0 else (away, 0)
    reached = maps.narrow(dim, maps.shape[dim] - length - start, length)
    if away:
        reached = functional.pad(reached, filled if dim == -1 else (0, 0, *filled))
    return gradient.narrow(dim, start, length), reached, 0


def _gradients(
    gradient: Tensor,
    maps: Tensor,
    weight: Tensor,
    stride: int,
    padding: tuple[int, int],
    wanted: tuple[bool, bool],
) -> tuple[Tensor | None, Tensor | None]:
    """Torch's own, of maps and weights."""
    of_maps, of_weight, _ = torch.ops.aten.convolution_backward(
        gradient,
        maps,
        weight,
        None,
        [stride] * 2,
        [*padding],
        [1, 1],
        False,
        [0, 0],
        weight.shape[0],
        [*wanted, False],
    )
    return of_maps, of_weight


def taken_apart(maps: Tensor, step: int) -> Tensor:
    """Every `step`-th row and column by itself: [B, C, h, w] → [B · step², C, ⌈h / step⌉, ⌈w /
    step⌉], channels last.

    Zeros fill up what `step` does not divide.
    """
    batch, channels, height, width = maps.shape
    if height % step or width % step:
        maps = functional.pad(maps, (0, -width % step, 0, -height % step))
    rows = maps.shape[-2] // step
    columns = maps.shape[-1] // step
    cells = maps.permute(0, 2, 3, 1).reshape(batch, rows, step, columns, step, channels)
    return cells.permute(0, 2, 4, 1, 3, 5).reshape(-1, rows, columns, channels).permute(0, 3, 1, 2)


def put_together(parts: Tensor, step: int, size: tuple[int, int]) -> Tensor:
    """The inverse of `taken_apart`, without what was filled up: [B, C, *size], channels last."""
    _, channels, rows, columns = parts.shape
    cells = (
        parts.permute(0, 2, 3, 1)
        .reshape(-1, step, step, rows, columns, channels)
        .permute(0, 3, 1, 4, 2, 5)
    )
    maps = cells.reshape(-1, rows * step, columns * step, channels)[:, : size[0], : size[1]]
    return maps.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
