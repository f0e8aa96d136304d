"""Activation checkpointing: blocks of a backbone keep their input only and are run again.

The second run draws the same dropout and stochastic depth, and leaves BatchNorm's running
statistics alone, so that weights and statistics are the same bits.
"""

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from rml_trainers.networks.batchnorm import batchnorm_layers


def recompute_blocks(backbone: nn.Module) -> None:
    """Let every block of a backbone forget its activations wherever gradients are wanted.

    Weights keep their names. A copy of the backbone recomputes its own blocks.
    """
    for block in blocks_of(backbone):
        block.forward = partial(_forward, block)


def blocks_of(backbone: nn.Module) -> list[nn.Module]:
    """The repeated parts of a network: what its sequences hold, other than sequences and single
    layers.

    Residual blocks of ResNets and EfficientNets, layers of transformers. In a backbone that is not
    made of sequences the parts it names itself (stages); none in a plain perceptron.
    """
    return list(_in_sequences(backbone)) or [
        child for child in backbone.children() if _is_composed(child)
    ]


def _in_sequences(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        in_sequence = isinstance(module, nn.Sequential | nn.ModuleList)
        if in_sequence and _is_composed(child) and not isinstance(child, nn.Sequential):
            yield child
        else:
            yield from _in_sequences(child)


def _is_composed(module: nn.Module) -> bool:
    return next(module.children(), None) is not None


def _forward(block: nn.Module, *inputs: Any, **named: Any) -> Any:
    forward = partial(type(block).forward, block)
    if not torch.is_grad_enabled():
        return forward(*inputs, **named)
    both = partial(_first_and_second, block)
    return checkpoint(forward, *inputs, use_reentrant=False, context_fn=both, **named)


def _first_and_second(
    block: nn.Module,
) -> tuple[contextlib.AbstractContextManager[None], contextlib.AbstractContextManager[None]]:
    return contextlib.nullcontext(), _statistics_left_alone(block)


@contextlib.contextmanager
def _statistics_left_alone(block: nn.Module) -> Iterator[None]:
    """BatchNorm layers in training mode normalise as usual, and what they keep stays as it is.

    A moving average of momentum 0 keeps its value, and what counts the batches is a tensor that
    nobody reads. (Taking the statistics away instead would leave fewer tensors than the first run
    saved, which torch refuses.)
    """
    kept = [(layer, layer.momentum, layer.num_batches_tracked) for layer in batchnorm_layers(block)]
    for layer, _, counter in kept:
        layer.momentum = 0.0
        layer.num_batches_tracked = None if counter is None else torch.zeros_like(counter)
    try:
        yield
    finally:
        for layer, momentum, counter in kept:
            layer.momentum = momentum
            layer.num_batches_tracked = counter
