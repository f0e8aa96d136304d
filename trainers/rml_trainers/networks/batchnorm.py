"""The three ways in which the literature treats BatchNorm in a pretrained backbone.

`trainable`: like any layer (DMT). `frozen_affine`: scale and shift fixed, batch statistics live
(AdvSemiSeg, S4GAN, ClassMix). `frozen`: running statistics fixed too (CutMix-Seg's `--freeze_bn`).
"""

from collections.abc import Iterator

from torch import nn

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm
"""Every kind; timm's fused layers are among them."""


def batchnorm_layers(network: nn.Module) -> Iterator[BatchNorm]:
    """Every BatchNorm layer, synchronised and timm's fused ones included."""
    return (module for module in network.modules() if isinstance(module, BatchNorm))


def freeze_affine(network: nn.Module) -> None:
    """Take scale and shift of every BatchNorm layer out of training."""
    for layer in batchnorm_layers(network):
        for parameter in layer.parameters():
            parameter.requires_grad_(False)


def hold_statistics(network: nn.Module) -> None:
    """Normalise with the running statistics and leave them as they are."""
    for layer in batchnorm_layers(network):
        layer.eval()
