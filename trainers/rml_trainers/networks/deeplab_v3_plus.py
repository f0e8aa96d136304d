"""Deeplabv3+: ASPP on the backbone's last map, joined with an early one of four times its size
(Chen et al., 2018), as CPS, U2PL, AugSeg and UniMatch use it."""

import dataclasses
from collections.abc import Sequence
from typing import Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from rml_trainers.configuration import configuration, require
from rml_trainers.networks.backbones.convolutional import Backbone, build_backbone
from rml_trainers.networks.layers import ConcatenatedASPP, ConvNormAct
from rml_trainers.networks.network import SegmentationNetwork, SegmentationOutput
from rml_trainers.noise.config import NoiseConfig
from rml_trainers.settings.contract import NetworkConfig

RATES = {16: (6, 12, 18), 8: (12, 24, 36)}
"""Dilations of the ASPP by output stride (Chen et al., 2018)."""
LOW_LEVEL_STRIDE = 4
LOW_LEVEL_WIDTH = 48
"""Channels that the early map is brought to (Chen et al., 2018)."""


@configuration
class DeepLabV3PlusConfig(NetworkConfig):
    """Network of one student. No auxiliary losses."""

    name: Literal["deeplab_v3_plus"] = "deeplab_v3_plus"
    backbone: str = "resnet101s"
    """Any timm model that supports `features_only`. The one named has the deep stem of 64, 64 and
    128 channels that CPS, U2PL, AugSeg and UniMatch have (their `resnet101.pth`, as a file)."""
    output_stride: Literal[8, 16] = 16
    weights: Literal["none", "timm", "file"] = "timm"
    """`none`: random; `timm`: timm's hub, or an installed weights package; `file`: `weights_file`
    with timm's keys, which are those of the authors' ResNets too."""
    weights_file: str | None = None
    aspp_rates: tuple[int, ...] | None = None
    """Dilations in cells of the last map; default: 6/12/18 at output stride 16, 12/24/36 at 8. A
    rate as large as the map of a training crop leaves its outer weights untrained, and a larger
    map at evaluation then reads them."""
    decoder_width: int = 256
    """Channels of the ASPP, and of the feature that the last linear classifier reads (Chen et al.,
    2018: 256)."""
    batchnorm: Literal["trainable", "frozen_affine", "frozen"] = "trainable"
    """Of backbone and head; `frozen` leaves the head's new layers at the identity."""

    def __post_init__(self) -> None:
        rates = self.aspp_rates
        given = rates is None or (len(rates) >= 1 and min(rates) >= 1)
        require(given, "aspp_rates", rates, "one or more dilations of at least 1")
        if rates == RATES[self.output_stride]:
            object.__setattr__(self, "aspp_rates", None)  # written out, it is still the same run
        with_file = (self.weights == "file") == (self.weights_file is not None)
        require(
            with_file, "weights_file", self.weights_file, "a path exactly when weights is 'file'"
        )
        require(self.decoder_width >= 1, "decoder_width", self.decoder_width, "at least 1")

    @property
    def rates(self) -> tuple[int, ...]:
        """Dilation of every dilated convolution of the ASPP."""
        return self.aspp_rates or RATES[self.output_stride]

    @property
    def dilations_px(self) -> tuple[int, ...]:
        return tuple(rate * self.output_stride for rate in self.rates)

    @property
    def averages_whole_maps(self) -> bool:
        return True

    @property
    def hub_model(self) -> str | None:
        return self.backbone if self.weights == "timm" else None

    def without_weights_file(self) -> Self:
        return dataclasses.replace(self, weights="none", weights_file=None)


class DeepLabV3Plus(SegmentationNetwork):
    """Backbone → ASPP → bilinear to the early map → two 3×3 convolutions → dropout → linear.

    The feature is what the last linear classifier reads, at output stride 4. The head begins with
    two maps (`decode`): the early one and the last.
    """

    def __init__(
        self, config: DeepLabV3PlusConfig, backbone: Backbone, num_classes: int, dropout: float
    ) -> None:
        width = config.decoder_width
        super().__init__(
            mean=backbone.mean,
            std=backbone.std,
            feature_width=width,
            last_map_width=backbone.feature_width,
            projection_width=None,
            align_corners=True,
            batchnorm=config.batchnorm,
        )
        self.backbone = backbone.module
        self.aspp = ConcatenatedASPP(backbone.feature_width, width, config.rates)
        self.reduce = ConvNormAct(backbone.widths[0], LOW_LEVEL_WIDTH, kernel_size=1)
        self.fuse = nn.Sequential(
            ConvNormAct(LOW_LEVEL_WIDTH + width, width, kernel_size=3),
            ConvNormAct(width, width, kernel_size=3),
        )
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Conv2d(width, num_classes, kernel_size=1)
        self.apply_batchnorm_mode()

    def forward(self, images: Tensor) -> SegmentationOutput:
        maps = self.backbone(self.normalise(images))
        output = self.decode(maps, (images.shape[-2], images.shape[-1]))
        return output._replace(encoded=self.encoded(maps))

    def decode(self, maps: Sequence[Tensor], image_px: tuple[int, int]) -> SegmentationOutput:
        early, last = maps
        context = functional.interpolate(
            self.aspp(last), size=early.shape[-2:], mode="bilinear", align_corners=True
        )
        return self.classify(self.fuse(torch.cat([self.reduce(early), context], dim=1)))

    def classify(self, feature: Tensor) -> SegmentationOutput:
        return SegmentationOutput(self.classifier(self.dropout(feature)), feature, None)

    def head_modules(self) -> Sequence[nn.Module]:
        return (self.aspp, self.reduce, self.fuse, self.classifier)


def build_deeplab_v3_plus(
    config: DeepLabV3PlusConfig, num_classes: int, noise: NoiseConfig, pretrained: bool = True
) -> DeepLabV3Plus:
    """Build with pretrained weights loaded; dropout and stochastic depth only where `noise.model`
    is on.

    `pretrained=False` builds the same graph with random weights and opens nothing.
    """
    dropout, drop_path = (noise.dropout, noise.drop_path) if noise.model else (0.0, 0.0)
    backbone = build_backbone(
        config.backbone,
        output_stride=config.output_stride,
        drop_path=drop_path,
        weights=config.weights if pretrained else "none",
        weights_file=config.weights_file if pretrained else None,
        low_level_stride=LOW_LEVEL_STRIDE,
    )
    return DeepLabV3Plus(config, backbone, num_classes, dropout)
