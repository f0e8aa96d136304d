"""State of a run beside its networks and their momentum: who keeps some, and where a checkpoint holds it."""

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from rml_trainers.state import part_of


class Keeper(Protocol):
    """Something with tensors that exact resume needs."""

    def tensors(self) -> dict[str, Tensor]:
        """All of them, by name."""
        ...

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `tensors` gave."""


def gather_extras(keepers: Mapping[str, Keeper]) -> dict[str, Tensor]:
    """Tensors of all keepers as `<keeper>/<name>`."""
    return {f"{part}/{name}": tensor for part, keeper in keepers.items() for name, tensor in keeper.tensors().items()}


def restore_extras(keepers: Mapping[str, Keeper], extras: Mapping[str, Tensor], device: torch.device) -> None:
    """Give every keeper its tensors back; one of which there are none stays as it was built."""
    for part, keeper in keepers.items():
        if own := part_of(extras, f"{part}/"):
            keeper.load_tensors({name: tensor.to(device) for name, tensor in own.items()})
