"""Convolutions in forms that torch has fast kernels for on a CPU. Results are the same up to rounding.

Measured on an AMD EPYC, torch 2.15, November 2026, with tf_efficientnet_lite0 at crops of 96×128: a step without these
forms takes 1.5 to 1.9 times as long with one thread, and 1.6 times with two.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional


def prefer_fast_kernels(network: nn.Module) -> None:
    """Change how a network's convolutions are computed; for networks that run on a CPU. Weights keep their names.

    1×1 convolutions: with one thread and fewer than 16 images torch takes a plain matrix product instead of oneDNN,
    half as fast here, unless the convolution is dilated. The dilation of a single tap means nothing, so it is set.

    Dilated depthwise ones (EfficientNets at output stride 8 and 16): oneDNN has no fast backward for them, and no fast
    forward where the kernel is wider than the map. See `dilated_depthwise`.
    """
    for layer in network.modules():
        if type(layer) is not nn.Conv2d or layer.padding_mode != "zeros":
            continue
        if layer.kernel_size == (1, 1) and layer.stride == (1, 1) and layer.groups == 1:
            layer.dilation = (2, 2)
        elif _is_dilated_depthwise(layer):
            layer.forward = partial(_forward, layer)  # type: ignore[method-assign]


def _is_dilated_depthwise(layer: nn.Conv2d) -> bool:
    kernel, dilation = layer.kernel_size[0], layer.dilation[0]
    keeps_size = layer.stride == (1, 1) and layer.padding == (dilation * (kernel // 2),) * 2
    square = layer.kernel_size == (kernel, kernel) and layer.dilation == (dilation, dilation) and kernel % 2 == 1
    depthwise = layer.groups == layer.in_channels == layer.out_channels
    return depthwise and square and keeps_size and dilation > 1 and layer.bias is None


def _forward(layer: nn.Conv2d, maps: Tensor) -> Tensor:
    weight = layer.weight
    if torch.is_autocast_enabled(maps.device.type):
        dtype = torch.get_autocast_dtype(maps.device.type)
        maps, weight = maps.to(dtype), weight.to(dtype)
    return dilated_depthwise(maps, weight, layer.dilation[0])


def dilated_depthwise(maps: Tensor, weight: Tensor, dilation: int) -> Tensor:
    """Depthwise convolution of maps [B, C, h, w] with kernels [C, 1, k, k], k odd, that keeps the size.

    With dilation d, every d-th row and column meet each other only: the map is d² maps that an ordinary convolution
    takes as so many images.
    """
    result: Tensor = _DilatedDepthwise.apply(maps, weight, dilation)
    return result


class _DilatedDepthwise(torch.autograd.Function):
    """Keeps for the backward pass what the plain convolution would keep."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, dilation: int) -> Tensor:
        ctx.save_for_backward(maps, weight)
        ctx.dilation = dilation
        channels, kernel = weight.shape[0], weight.shape[-1]
        if (kernel - 1) * dilation < min(maps.shape[-2:]):
            reach = dilation * (kernel // 2)
            return functional.conv2d(maps, weight, padding=reach, dilation=dilation, groups=channels)
        apart = functional.conv2d(taken_apart(maps, dilation), weight, padding=kernel // 2, groups=channels)
        return put_together(apart, dilation, (maps.shape[-2], maps.shape[-1]))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        maps, weight = ctx.saved_tensors
        reach, wanted = [weight.shape[-1] // 2] * 2, [*ctx.needs_input_grad[:2], False]
        parts = taken_apart(gradient, ctx.dilation), taken_apart(maps, ctx.dilation)
        of_parts, of_weight, _ = torch.ops.aten.convolution_backward(
            *parts, weight, None, [1, 1], reach, [1, 1], False, [0, 0], weight.shape[0], wanted
        )
        size = (maps.shape[-2], maps.shape[-1])
        return (put_together(of_parts, ctx.dilation, size) if wanted[0] else None), of_weight, None


def taken_apart(maps: Tensor, step: int) -> Tensor:
    """Every `step`-th row and column by itself: [B, C, h, w] → [B · step², C, ⌈h / step⌉, ⌈w / step⌉], channels last.

    Zeros fill up what `step` does not divide.
    """
    batch, channels, height, width = maps.shape
    if height % step or width % step:
        maps = functional.pad(maps, (0, -width % step, 0, -height % step))
    rows, columns = maps.shape[-2] // step, maps.shape[-1] // step
    cells = maps.permute(0, 2, 3, 1).reshape(batch, rows, step, columns, step, channels)
    return cells.permute(0, 2, 4, 1, 3, 5).reshape(-1, rows, columns, channels).permute(0, 3, 1, 2)


def put_together(parts: Tensor, step: int, size: tuple[int, int]) -> Tensor:
    """The inverse of `taken_apart`, without what was filled up: [B, C, *size], channels last."""
    _, channels, rows, columns = parts.shape
    cells = parts.permute(0, 2, 3, 1).reshape(-1, step, step, rows, columns, channels).permute(0, 3, 1, 4, 2, 5)
    maps = cells.reshape(-1, rows * step, columns * step, channels)[:, : size[0], : size[1]]
    return maps.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
