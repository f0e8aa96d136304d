"""Activations that keep for their gradient no more than they must. Values and gradients are the
same bits. Only for networks that learn: without a gradient, working in place saves more."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

COPYING = (nn.SiLU, nn.Hardswish)
"""Their gradient needs the input, so in place, with a gradient, torch copies it before it is
changed. The gradient of ReLU needs its output only."""


def write_anew(network: nn.Module) -> None:
    """Let SiLU and Hardswish write a new tensor: in place, they are copied before."""
    for layer in network.modules():
        if isinstance(layer, COPYING):
            layer.inplace = False


def keep_output_of_relu6(network: nn.Module) -> None:
    """Exchange every ReLU6 for one that keeps its output.

    ReLU6 is torch's Hardtanh, whose gradient asks for the input. The output says the same, 0 and 6
    being where it is cut, and the next convolution keeps the output anyway.
    """
    for layer in list(network.modules()):
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
