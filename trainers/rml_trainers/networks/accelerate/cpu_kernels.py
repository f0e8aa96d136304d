"""Convolutions in forms that torch has fast kernels for on a CPU. Results are the same up to
rounding."""

from functools import partial

import torch
from timm.layers import Conv2dSame
from timm.layers.padding import pad_same
from torch import Tensor, nn

from rml_trainers.networks.accelerate.aspp_product import summed_aspp
from rml_trainers.networks.accelerate.depthwise import WIDEST_FAST, depthwise
from rml_trainers.networks.accelerate.recomputed_maps import made_from
from rml_trainers.networks.deeplab_v2 import SummedASPP

FEW_OUTPUTS = 32
"""Outputs of an ASPP up to which it is taken as one product; as many as a projection has fill the
kernels anyway."""


def prefer_fast_kernels(network: nn.Module) -> None:
    """Change how a network's convolutions are computed; for networks that run on a CPU. Weights
    keep their names.

    1×1 convolutions: with one thread and fewer than 16 images torch takes a plain matrix product
    instead of oneDNN, half as fast here, unless the convolution is dilated. The dilation of a
    single tap means nothing, so it is set.

    Depthwise ones (EfficientNets): oneDNN has no fast gradients for dilated kernels, for kernels
    with more than three columns, and in bf16 for strides. See `depthwise`.

    ASPP with a class per output: see `summed_aspp`.
    """
    for layer in network.modules():
        if isinstance(layer, SummedASPP):
            if layer.convolutions()[0].out_channels <= FEW_OUTPUTS:
                layer.forward = partial(_aspp, layer)  # type: ignore[method-assign]
        elif (
            isinstance(layer, nn.Conv2d)
            and type(layer) in (nn.Conv2d, Conv2dSame)
            and layer.padding_mode == "zeros"
        ):
            if layer.kernel_size == (1, 1) and layer.stride == (1, 1) and layer.groups == 1:
                layer.dilation = (2, 2)
            elif _is_slow_depthwise(layer):
                layer.forward = partial(_forward, layer)  # type: ignore[method-assign]


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


def _cast(maps: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """To the type that autocast would choose for a convolution."""
    if not torch.is_autocast_enabled(maps.device.type):
        return maps, weight
    dtype = torch.get_autocast_dtype(maps.device.type)
    return maps.to(dtype), weight.to(dtype)
