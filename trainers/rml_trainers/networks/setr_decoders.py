"""SETR's two decoders without the last linear classifier (Zheng et al., 2021, 3.3): patches to
features."""

from collections.abc import Callable

from torch import Tensor, nn

from rml_trainers.networks.layers import ConvNormAct

PUP_STAGES = 4
"""Convolutions of progressive upsampling, each followed by one of ×2 (SETR-PUP): from 1/16 to full
size."""


class NaiveDecoder(nn.Module):
    """SETR-Naïve: 1×1 convolution, BatchNorm, ReLU: [B, D, h, w] → [B, width, h, w]."""

    cells_per_patch = 1

    def __init__(self, in_width: int, width: int) -> None:
        super().__init__()
        self.convolution = ConvNormAct(in_width, width, kernel_size=1)

    def forward(self, patches: Tensor) -> Tensor:
        feature: Tensor = self.convolution(patches)
        return feature


class ProgressiveDecoder(nn.Module):
    """SETR-PUP: four times 3×3 convolution, BatchNorm and ReLU, with bilinear ×2 in between.

    [B, D, h, w] → [B, width, 8h, 8w].
    The fourth ×2 is left to the network's upsampling of the logits: a 1×1 classifier and bilinear
    upsampling can change places without changing the result, and the last maps stay a quarter as
    large.
    """

    cells_per_patch = 2 ** (PUP_STAGES - 1)

    def __init__(self, in_width: int, width: int) -> None:
        super().__init__()
        widths = [in_width, *[width] * (PUP_STAGES - 1)]
        self.stages = nn.ModuleList(ConvNormAct(before, width, kernel_size=3) for before in widths)
        self.doubled = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)

    def forward(self, patches: Tensor) -> Tensor:
        first, *others = self.stages
        feature: Tensor = first(patches)
        for stage in others:
            feature = stage(self.doubled(feature))
        return feature


DECODERS: dict[str, Callable[[int, int], NaiveDecoder | ProgressiveDecoder]] = {
    "naive": NaiveDecoder,
    "pup": ProgressiveDecoder,
}
