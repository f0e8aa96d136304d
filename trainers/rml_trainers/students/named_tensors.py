"""Tensors by name: how the state of networks and of whatever else a run keeps is laid out in one
mapping."""

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor, nn


class Stateful(Protocol):
    """Something with tensors that exact resume needs."""

    def tensors(self) -> dict[str, Tensor]:
        """All of them, by name."""
        ...

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `tensors` gave."""


def numbered(networks: nn.ModuleList) -> dict[str, Tensor]:
    """State of all networks with their number, from 1, in front."""
    return {
        f"{i + 1}.{name}": tensor
        for i, network in enumerate(networks)
        for name, tensor in network.state_dict().items()
    }


def load_numbered(networks: nn.ModuleList, tensors: Mapping[str, Tensor]) -> None:
    """Take back what `numbered` gave, strictly."""
    for i, network in enumerate(networks):
        network.load_state_dict(under(tensors, f"{i + 1}."))


def under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, under the rest of their names."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
