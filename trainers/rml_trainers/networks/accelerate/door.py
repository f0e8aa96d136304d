"""The only way into this room: one call per network, and a description of what it did."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from torch import nn

from rml_trainers.networks.accelerate import private_names
from rml_trainers.networks.accelerate.activations import keep_output_of_relu6, write_anew
from rml_trainers.networks.accelerate.private_names import missing
from rml_trainers.networks.accelerate.recomputed_blocks import recompute_blocks
from rml_trainers.networks.accelerate.recomputed_maps import recompute_upsampling, recomputing_maps

Recompute = Literal["none", "batchnorm", "backbone"]
"""What a network that learns computes again in the backward pass instead of keeping it."""


class Form(NamedTuple):
    """Another way to compute some layers of a network. Results are the same up to rounding, weights
    keep their names."""

    what: str
    change: Callable[[nn.Module], None]
    needs: tuple[str, ...] = ()
    """Names of torch that are not documented, counted from `torch.`; without one of them the layers
    stay torch's own."""


class Acceleration(NamedTuple):
    """What `accelerate` does on a device."""

    forms: tuple[str, ...]
    """Forms that networks are given; none of them: plain torch."""
    left_out: tuple[str, ...]
    """Forms that this torch is too old or too new for, each with the names that it lacks."""


def accelerate(
    network: nn.Module, device: torch.device, *, recompute: Recompute | None = None
) -> None:
    """Change in place how a network is computed: the same results up to rounding in less time or
    memory. Layers exchanged are found by their type; a network needs to know nothing of it.

    On a CPU layers get the forms that torch is fast at. Elsewhere a network stays plain torch, for
    no GPU has been measured with them, unless `recompute` asks for something.

    Args:
        network: at its final device and memory format, synchronised BatchNorm already in place. A
            copy made afterwards is accelerated too and stays apart.
        device: where it runs.
        recompute: for a network that learns, see README.md in this folder. None: the network only
            labels, so that nothing is kept for a gradient anyway.
    """
    for form in _forms(device, recompute):
        if not missing(form.needs):
            form.change(network)


def what_is_accelerated(
    device: torch.device, *, recompute: Recompute | None = None
) -> Acceleration:
    """What `accelerate` does with these arguments and this torch."""
    forms = _forms(device, recompute)
    lacking = [(form.what, missing(form.needs)) for form in forms]
    lacking.append(
        ("statistics of mean teachers copied at once", missing([private_names.COPY_ALL]))
    )
    return Acceleration(
        forms=tuple(form.what for form in forms if not missing(form.needs)),
        left_out=tuple(f"{what} ({', '.join(names)})" for what, names in lacking if names),
    )


def _forms(device: torch.device, recompute: Recompute | None) -> list[Form]:
    forms: list[Form] = []
    if device.type == "cpu":
        forms += ON_A_CPU
    if recompute == "batchnorm" or (recompute is not None and device.type == "cpu"):
        forms += LEARNING
    if recompute == "batchnorm":
        forms.append(BATCHNORM)
    elif recompute == "backbone":
        forms.append(BLOCKS)
    return forms


# What knows timm's layers is loaded where a network is changed, and not by who reads a
# configuration: timm brings torchvision and torch's compiler along, seconds of every command.


def _dilate_single_taps(network: nn.Module) -> None:
    from rml_trainers.networks.accelerate.cpu_kernels import dilate_single_taps

    dilate_single_taps(network)


def _take_depthwise_apart(network: nn.Module) -> None:
    from rml_trainers.networks.accelerate.cpu_kernels import take_depthwise_apart

    take_depthwise_apart(network)


def _multiply_aspp(network: nn.Module) -> None:
    from rml_trainers.networks.accelerate.cpu_kernels import multiply_aspp

    multiply_aspp(network)


def _recompute_batchnorm(network: nn.Module) -> None:
    from rml_trainers.networks.accelerate.lean_batchnorm import keep_inputs_only

    keep_inputs_only(network)
    recompute_upsampling(network)
    network.forward = partial(_forward, network)


def _forward(network: nn.Module, *inputs: Any, **named: Any) -> Any:
    with recomputing_maps():
        return type(network).forward(network, *inputs, **named)


def _recompute_backbone(network: nn.Module) -> None:
    recompute_blocks(network.get_submodule("backbone"))


ON_A_CPU = (
    Form("1×1 convolutions by oneDNN", _dilate_single_taps),
    Form(
        "depthwise convolutions in pieces",
        _take_depthwise_apart,
        (private_names.CONVOLUTION_BACKWARD,),
    ),
    Form("ASPP as one product", _multiply_aspp, (private_names.CONVOLUTION_BACKWARD,)),
)
LEARNING = (
    Form("SiLU and Hardswish without a copy", write_anew),
    Form("ReLU6 keeping its output", keep_output_of_relu6, (private_names.HARDTANH_BACKWARD,)),
)
BATCHNORM = Form(
    "BatchNorm with its activation computed again",
    _recompute_batchnorm,
    (*private_names.NORMALISING, private_names.VERSION),
)
BLOCKS = Form("blocks of the backbone run again", _recompute_backbone)
