"""Networks none of whose weights and statistics are those that they start with."""

from typing import TypeVar

import torch
from torch import nn

from rml_trainers.networks.batchnorm import batchnorm_layers

Network = TypeVar("Network", bound=nn.Module)


@torch.no_grad()
def moved(network: Network) -> Network:
    """The same network, moved at random from torch's generator: BatchNorm of every layer changes
    what it gets, and no bias is zero."""
    for parameter in network.parameters():
        parameter.add_(torch.randn_like(parameter), alpha=0.05)
    for layer in batchnorm_layers(network):
        state = layer.state_dict()
        state["weight"].copy_(0.5 + torch.rand_like(state["weight"]))
        state["running_var"].copy_(0.5 + torch.rand_like(state["running_var"]))
        state["running_mean"].copy_(0.1 * torch.randn_like(state["running_mean"]))
    return network
