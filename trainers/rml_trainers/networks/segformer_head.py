"""SegFormer's all-MLP head (Xie et al., 2021) on a hierarchical backbone.

SegFormer's own encoder, MiT, is not among timm's models, so this is not SegFormer and does not bear
its name. PVTv2 is MiT's nearest relative there: four stages of equal strides, widths and depths,
overlapping patch embeddings, attention to a reduced map and a depthwise convolution in each
feed-forward part.

Sources: NVlabs/SegFormer, `mmseg/models/decode_heads/segformer_head.py`,
`mmseg/models/backbones/mix_transformer.py` and `local_configs/segformer`; whai362/PVT,
`classification/pvt_v2.py`.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from rml_trainers.configuration import configuration, require
from rml_trainers.networks.backbones.convolutional import Backbone, build_pyramid
from rml_trainers.networks.layers import ConvNormAct, without_padding
from rml_trainers.networks.network import SegmentationNetwork, SegmentationOutput
from rml_trainers.noise.config import NoiseConfig
from rml_trainers.settings.contract import NetworkConfig

STRIDES = (4, 8, 16, 32)
"""Of the maps that the head reads (SegFormer: `feature_strides`)."""


@configuration
class SegformerHeadConfig(NetworkConfig):
    """Network of one student."""

    name: Literal["segformer_head"] = "segformer_head"
    backbone: str = "pvt_v2_b2"
    """Any timm model with `features_only` and maps at strides 4, 8, 16 and 32 that takes images of
    any size: PVTv2, ConvNeXt, ResNet …"""
    decoder_width: int = 768
    """Channels of the head, and of the feature that the last linear classifier reads (SegFormer's
    `embed_dim`: 256 for its B0 and B1, 768 for the others)."""
    weights: Literal["none", "timm", "file"] = "timm"
    """`none`: random; `timm`: timm's hub, or an installed weights package; `file`: `weights_file`
    with timm's keys."""
    weights_file: str | None = None
    batchnorm: Literal["trainable", "frozen_affine", "frozen"] = "trainable"
    """Of the head's one layer and of a convolutional backbone's; `frozen` leaves the new one at
    the identity."""

    def __post_init__(self) -> None:
        with_file = (self.weights == "file") == (self.weights_file is not None)
        require(
            with_file, "weights_file", self.weights_file, "a path exactly when weights is 'file'"
        )
        require(self.decoder_width >= 1, "decoder_width", self.decoder_width, "at least 1")

    @property
    def hub_model(self) -> str | None:
        return self.backbone if self.weights == "timm" else None

    def without_weights_file(self) -> Self:
        return dataclasses.replace(self, weights="none", weights_file=None)


class SegformerHead(SegmentationNetwork):
    """Four maps → a linear layer each → bilinear to the finest → linear, BatchNorm, ReLU → dropout
    → linear.

    The feature is what the last linear classifier reads, at stride 4. An image that 32 does not
    divide is padded with the mean colour at its bottom and right, because some backbones drop what
    is left over; the feature is then moved onto the image (ours).
    """

    def __init__(
        self, config: SegformerHeadConfig, backbone: Backbone, num_classes: int, dropout: float
    ) -> None:
        width = config.decoder_width
        super().__init__(
            mean=backbone.mean,
            std=backbone.std,
            feature_width=width,
            last_map_width=backbone.widths[-1],
            projection_width=None,
            align_corners=False,
            batchnorm=config.batchnorm,
        )
        self.backbone = backbone.module
        self.projections = nn.ModuleList(
            nn.Conv2d(in_width, width, kernel_size=1) for in_width in backbone.widths
        )
        self.fuse = ConvNormAct(len(backbone.widths) * width, width, kernel_size=1)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Conv2d(width, num_classes, kernel_size=1)
        self.apply_batchnorm_mode()

    def forward(self, images: Tensor) -> SegmentationOutput:
        (height, width) = images.shape[-2:]
        missing = (0, -width % STRIDES[-1], 0, -height % STRIDES[-1])
        maps = self.backbone(functional.pad(self.normalise(images), missing))
        output = self.decode(maps, (height, width))
        return output._replace(encoded=self.encoded(maps))

    def decode(self, maps: Sequence[Tensor], image_px: tuple[int, int]) -> SegmentationOutput:
        size = maps[0].shape[-2:]
        # The coarsest comes first, as in SegFormer's code.
        projected = [
            functional.interpolate(layer(each), size=size, mode="bilinear", align_corners=False)
            for layer, each in zip(self.projections, maps, strict=True)
        ][::-1]
        feature = self.fuse(torch.cat(projected, dim=1))
        padded_px = (STRIDES[0] * size[0], STRIDES[0] * size[1])
        return self.classify(without_padding(feature, padded_px, image_px))

    def classify(self, feature: Tensor) -> SegmentationOutput:
        return SegmentationOutput(self.classifier(self.dropout(feature)), feature, None)

    def head_modules(self) -> Sequence[nn.Module]:
        return (self.projections, self.fuse, self.classifier)


def build_segformer_head(
    config: SegformerHeadConfig, num_classes: int, noise: NoiseConfig, pretrained: bool = True
) -> SegformerHead:
    """Build with pretrained weights loaded; dropout and stochastic depth only where `noise.model`
    is on.

    `pretrained=False` builds the same graph with random weights and opens nothing.
    """
    dropout, drop_path = (noise.dropout, noise.drop_path) if noise.model else (0.0, 0.0)
    backbone = build_pyramid(
        config.backbone,
        strides=STRIDES,
        drop_path=drop_path,
        weights=config.weights if pretrained else "none",
        weights_file=config.weights_file if pretrained else None,
    )
    return SegformerHead(config, backbone, num_classes, dropout)
