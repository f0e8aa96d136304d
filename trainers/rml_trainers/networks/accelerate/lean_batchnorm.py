"""BatchNorm and its activation keep their input only: the output is computed again where a gradient
needs it.

BatchNorm keeps its input for the backward pass, and the next convolution the output, maps of the
same size. Without the second, half is left. (In-Place Activated BatchNorm, Rota Bulò et al. 2018,
keeps the output instead and inverts it.) Mean and variance are remembered, so computing the output
again is one multiplication and addition per value.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from timm.layers import BatchNormAct2d
from timm.models import FeatureListNet
from timm.models.resnet import BasicBlock, Bottleneck
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from rml_trainers.networks.accelerate.activations import LeanReLU6
from rml_trainers.networks.accelerate.recomputed_maps import Recipe, maps_are_recomputed, remember


class Activation(NamedTuple):
    """An activation and its gradient."""

    apply: Callable[[Tensor], Tensor]
    """May work in place."""
    gradient: Callable[[Tensor, Tensor], Tensor]
    """Of the input: from that of the output, and from what `of_output` says, which it may
    overwrite."""
    of_output: bool
    """The output tells the gradient; else the input does."""


_ops = torch.ops.aten
ACTIVATIONS: dict[type[nn.Module], Activation] = {
    nn.ReLU: Activation(
        torch.relu_,
        lambda gradient, y: _ops.threshold_backward.grad_input(gradient, y, 0, grad_input=y),
        True,
    ),
    LeanReLU6: Activation(
        lambda z: z.clamp_(0, 6),
        lambda gradient, y: _ops.hardtanh_backward.grad_input(gradient, y, 0, 6, grad_input=y),
        True,
    ),
    nn.SiLU: Activation(
        nn.functional.silu, lambda gradient, z: _ops.silu_backward(gradient, z), False
    ),
    nn.Hardswish: Activation(
        nn.functional.hardswish, lambda gradient, z: _ops.hardswish_backward(gradient, z), False
    ),
}


def keep_inputs_only(network: nn.Module) -> None:
    """Let every one of `pairs` do so under `recomputing_maps`. Weights keep their names."""
    for norm, activation in pairs(network):
        norm.forward = partial(_forward, norm, ACTIVATIONS[type(activation)])  # type: ignore[method-assign]
        if activation is not getattr(norm, "act", None):
            activation.forward = partial(_done_before, activation)


def pairs(network: nn.Module) -> Iterator[tuple[nn.BatchNorm2d, nn.Module]]:
    """BatchNorm layers, each with the activation that follows at once and is one of `ACTIVATIONS`.

    Without those that are synchronised between workers, have no scale, or average their statistics
    evenly.
    """
    for module in network.modules():
        candidates: list[tuple[nn.Module, nn.Module]] = []
        if isinstance(module, BatchNormAct2d) and isinstance(module.drop, nn.Identity):
            candidates = [(module, module.act)]
        elif isinstance(module, nn.Sequential | FeatureListNet):
            candidates = list(pairwise(module.children()))
        elif isinstance(module, BasicBlock | Bottleneck):
            # What follows the last BatchNorm of a block is the sum with its input.
            candidates = [(module.bn1, module.act1)]
            if isinstance(module, Bottleneck):
                candidates.append((module.bn2, module.act2))
            candidates = candidates if isinstance(module.drop_block, nn.Identity) else []
        for norm, activation in candidates:
            if type(activation) in ACTIVATIONS and type(norm) in (nn.BatchNorm2d, BatchNormAct2d):
                assert isinstance(norm, nn.BatchNorm2d)
                if norm.affine and norm.track_running_stats and norm.momentum is not None:
                    yield norm, activation


def _forward(norm: nn.BatchNorm2d, activation: Activation, x: Tensor) -> Tensor:
    nothing_to_average = norm.training and x.numel() == x.shape[1]  # torch has an error for it
    if not maps_are_recomputed() or nothing_to_average:
        return type(norm).forward(norm, x)
    if norm.training and norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
    y: Tensor
    y, recipe = _NormAct.apply(x, norm.weight, norm.bias, norm, activation)
    if y.requires_grad:
        remember(y, recipe)
    return y


def _done_before(activation: nn.Module, x: Tensor) -> Tensor:
    """An activation that its BatchNorm layer has taken over."""
    if maps_are_recomputed():
        return x
    result: Tensor = type(activation).forward(activation, x)
    return result


class _NormAct(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        norm: nn.BatchNorm2d,
        activation: Activation,
    ) -> tuple[Tensor, Recipe]:
        statistics = (norm.running_mean, norm.running_var)
        momentum = norm.momentum
        assert momentum is not None, "layers that have none are left out"
        z, mean, invstd = torch.native_batch_norm(
            x, weight, bias, *statistics, norm.training, momentum, norm.eps
        )
        ctx.norm = norm
        ctx.training = norm.training
        ctx.activation = activation
        if not norm.training:
            assert norm.running_mean is not None and norm.running_var is not None, "as above"
            mean = norm.running_mean
            invstd = (norm.running_var + norm.eps).rsqrt()
        scale = invstd * weight
        shift = torch.addcmul(bias, mean, scale, value=-1)
        ctx.save_for_backward(x, weight, mean, invstd, scale, shift)
        again: list[tuple[Tensor, Tensor]] = []
        ctx.again = again
        return activation.apply(z), Recipe(
            partial(_asked, x.detach(), scale, shift, activation, again)
        )

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _recipe: None) -> tuple[Tensor | None, ...]:
        x, weight, mean, invstd, scale, shift = ctx.saved_tensors
        _y, told_by = ctx.again.pop() if ctx.again else _output(x, scale, shift, ctx.activation)
        gradient = ctx.activation.gradient(gradient, told_by)
        statistics = ctx.norm.running_mean, ctx.norm.running_var
        wanted = list(ctx.needs_input_grad[:3])
        gradients = _ops.native_batch_norm_backward(
            gradient,
            x,
            weight,
            *statistics,
            mean,
            invstd,
            ctx.training,
            ctx.norm.eps,
            wanted,
        )
        return *gradients, None, None


def _asked(
    x: Tensor,
    scale: Tensor,
    shift: Tensor,
    activation: Activation,
    again: list[tuple[Tensor, Tensor]],
) -> Tensor:
    """The output, computed for the first who asks; `again` has it for the others, until the layer's
    own gradient."""
    if not again:
        again.append(_output(x, scale, shift, activation))
    return again[0][0]


def _output(
    x: Tensor, scale: Tensor, shift: Tensor, activation: Activation
) -> tuple[Tensor, Tensor]:
    """The output, and what tells the gradient of the activation."""
    if x.dtype == scale.dtype:
        z = torch.addcmul(shift[:, None, None], x, scale[:, None, None])
    else:  # bf16: with the statistics of a layer that changes nothing, this is the same in one go
        nothing = torch.zeros_like(shift)
        one = torch.ones_like(scale)
        z = nn.functional.batch_norm(x, nothing, one, scale, shift, training=False, eps=0.0)
    y = activation.apply(z)
    return y, y if activation.of_output else z
