"""The run's optimiser, of the students or of a network of a method's own."""

from typing import Any

import torch

from rml_trainers.settings.optimisation import OptimiserConfig


def fused_optimiser(groups: list[dict[str, Any]], config: OptimiserConfig) -> torch.optim.Optimizer:
    """Fused, so that a step neither loops over parameters nor waits for the device.

    Args:
        groups: parameters as torch takes them; a group without `lr` has the backbone's.
    """
    if config.kind == "adamw":
        return torch.optim.AdamW(
            groups,
            lr=config.lr,
            betas=(config.momentum, config.second_moment),
            weight_decay=config.weight_decay,
            fused=True,
        )
    return torch.optim.SGD(
        groups,
        lr=config.lr,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        fused=True,
    )
