"""Convolutions in forms that torch has fast kernels for on a CPU. Results are the same up to
rounding."""

from collections.abc import Iterator
from functools import partial

import torch
from timm.layers import Conv2dSame, pad_same
from torch import Tensor, nn

from rml_trainers.networks.accelerate.aspp_product import summed_aspp
from rml_trainers.networks.accelerate.depthwise import WIDEST_FAST, depthwise
from rml_trainers.networks.accelerate.recomputed_maps import made_from
from rml_trainers.networks.layers import SummedASPP

FEW_OUTPUTS = 32
"""Outputs of an ASPP up to which it is taken as one product; as many as a projection has fill the
kernels anyway."""


def dilate_single_taps(network: nn.Module) -> None:
    """Lead 1×1 convolutions to oneDNN.

    With one thread and fewer than 16 images torch takes a plain matrix product instead, unless the
    convolution is dilated. The dilation of a single tap means nothing, so it is set.
    """
    for layer in _plain_convolutions(network):
        if layer.kernel_size == (1, 1) and layer.stride == (1, 1) and layer.groups == 1:
            layer.dilation = (2, 2)


def take_depthwise_apart(network: nn.Module) -> None:
    """Compute depthwise convolutions by `depthwise` where oneDNN has no fast gradients: for dilated
    kernels, for kernels with more than three columns, and in bf16 for strides."""
    for layer in _plain_convolutions(network):
        if _is_slow_depthwise(layer):
            layer.forward = partial(_forward, layer)  # type: ignore[method-assign]


def multiply_aspp(network: nn.Module) -> None:
    """Compute an ASPP with few outputs by `summed_aspp`, others without the taps that see padding
    only."""
    for layer in network.modules():
        if isinstance(layer, SummedASPP):
            few = layer.convolutions()[0].out_channels <= FEW_OUTPUTS
            layer.forward = partial(_aspp if few else _convolved_aspp, layer)  # type: ignore[method-assign]


def _plain_convolutions(network: nn.Module) -> Iterator[nn.Conv2d]:
    for layer in network.modules():
        if (
            isinstance(layer, nn.Conv2d)
            and type(layer) in (nn.Conv2d, Conv2dSame)
            and layer.padding_mode == "zeros"
        ):
            yield layer


def _is_slow_depthwise(layer: nn.Conv2d) -> bool:
    (kernel, stride, dilation) = _geometry(layer)
    reach = layer.padding
    square = all(
        pair == (pair[0], pair[0])
        for pair in (layer.kernel_size, layer.stride, layer.dilation, reach)
    )
    depthwise_ = layer.groups == layer.in_channels == layer.out_channels > 1 and layer.bias is None
    keeps_size = stride == 1 and layer.padding == (dilation * (kernel // 2),) * 2
    undilated = dilation == 1 and (stride > 1 or kernel > WIDEST_FAST)
    return (
        square and depthwise_ and kernel % 2 == 1 and (undilated or (dilation > 1 and keeps_size))
    )


def _geometry(layer: nn.Conv2d) -> tuple[int, int, int]:
    """Kernel, stride and dilation of a layer that has the same in both directions."""
    return layer.kernel_size[0], layer.stride[0], layer.dilation[0]


def _forward(layer: nn.Conv2d, maps: Tensor) -> Tensor:
    (_, stride, dilation) = _geometry(layer)
    padding = int(layer.padding[0])
    if isinstance(layer, Conv2dSame):
        kernel_stride_dilation = [*layer.kernel_size], [*layer.stride], [*layer.dilation]
        maps = made_from(maps, lambda x: pad_same(x, *kernel_stride_dilation))
        padding = 0
    maps, weight = _cast(maps, layer.weight)
    return depthwise(maps, weight, stride=stride, padding=padding, dilation=dilation)


def _aspp(layer: SummedASPP, maps: Tensor) -> Tensor:
    branches = layer.convolutions()
    weight = torch.stack([branch.weight for branch in branches])
    bias = torch.stack([branch.bias for branch in branches if branch.bias is not None])
    return summed_aspp(*_cast(maps, weight), bias, [branch.dilation[0] for branch in branches])


def _convolved_aspp(layer: SummedASPP, maps: Tensor) -> Tensor:
    first, *others = (dilated_convolution(maps, branch) for branch in layer.convolutions())
    return sum(others, start=first)


def dilated_convolution(maps: Tensor, branch: nn.Conv2d) -> Tensor:
    """The branch's convolution without the taps that fall outside a map smaller than the dilation.

    Those taps only ever see padding, so leaving them out changes nothing; training crops are often
    that small.
    """
    rate = branch.dilation[0]
    weight = branch.weight
    padding = [rate] * 2
    for axis in (0, 1):
        if maps.shape[2 + axis] <= rate:
            weight = weight.narrow(2 + axis, 1, 1)
            padding[axis] = 0
    return nn.functional.conv2d(maps, weight, branch.bias, padding=padding, dilation=rate)


def _cast(maps: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """To the type that autocast would choose for a convolution."""
    if not torch.is_autocast_enabled(maps.device.type):
        return maps, weight
    dtype = torch.get_autocast_dtype(maps.device.type)
    return maps.to(dtype), weight.to(dtype)
