"""Activations that keep for their gradient no more than they must. Values and gradients are the
same bits."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

COPYING = (nn.SiLU, nn.Hardswish)
"""Their gradient needs the input, so in place, with a gradient, torch copies it before it is
changed. The gradient of ReLU needs its output only."""


def keep_less(network: nn.Module) -> None:
    """Exchange the activations of a network that learns. Without a gradient, working in place saves
    more.

    ReLU6 is torch's Hardtanh, whose gradient asks for the input. The output says the same, 0 and 6
    being where it is cut, and the next convolution keeps the output anyway: a third less to keep
    for every convolution, BatchNorm and ReLU6. The others at least write a new tensor instead of a
    copy and then the result.
    """
    for layer in list(network.modules()):
        if isinstance(layer, COPYING):
            layer.inplace = False
        for name, child in layer.named_children():
            if type(child) is nn.ReLU6:
                setattr(layer, name, LeanReLU6())


class LeanReLU6(nn.Module):
    """ReLU6 that keeps its output for the gradient."""

    def forward(self, x: Tensor) -> Tensor:
        """Values between 0 and 6, of any shape."""
        result: Tensor = _ReLU6.apply(x)
        return result


class _ReLU6(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = x.clamp(0, 6)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        result: Tensor = torch.ops.aten.hardtanh_backward(gradient, y, 0, 6)
        return result
