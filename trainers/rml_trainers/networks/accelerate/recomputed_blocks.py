"""Activation checkpointing: what students compute again in the backward pass instead of keeping it.

`batchnorm`: what BatchNorm and its activation give, see `networks/lean_batchnorm.py`. `backbone`:
blocks of a backbone keep their input only and are run again. That costs the blocks' forward once
more and saves most of the memory of a step. The second run draws the same dropout and stochastic
depth, and leaves BatchNorm's running statistics alone, so that weights and statistics are the same
bits.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Literal

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from rml_trainers.networks.accelerate.activations import keep_less
from rml_trainers.networks.accelerate.lean_batchnorm import keep_inputs_only
from rml_trainers.networks.accelerate.recomputed_maps import recomputing_maps
from rml_trainers.networks.batchnorm import batchnorm_layers
from rml_trainers.networks.network import SegmentationNetwork
from rml_trainers.runtime.options import RuntimeConfig

Recomputed = Literal["none", "batchnorm", "backbone"]


def what_is_recomputed(runtime: RuntimeConfig, dtype: torch.dtype) -> Recomputed:
    """`activation_checkpointing`, with `auto` resolved for networks that run in `dtype`."""
    if runtime.activation_checkpointing != "auto":
        return runtime.activation_checkpointing
    return "batchnorm" if dtype == torch.float32 and not runtime.compile else "none"


def recompute(
    students: Iterable[SegmentationNetwork], what: Recomputed
) -> Callable[[], contextlib.AbstractContextManager[None]]:
    """Prepare students; what is returned makes a context that their forwards with gradient have to
    run under."""
    for student in students:
        keep_less(student)
        if what == "batchnorm":
            keep_inputs_only(student)
        elif what == "backbone":
            recompute_blocks(student.backbone)
    return recomputing_maps if what == "batchnorm" else contextlib.nullcontext


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
