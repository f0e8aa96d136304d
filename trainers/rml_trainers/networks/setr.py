"""SETR: a vision transformer read as a map of patches, and a decoder that brings it to pixels
(Zheng et al., 2021)."""

import dataclasses
from collections.abc import Sequence
from typing import Literal, Self

from torch import Tensor, nn

from rml_trainers.configuration import configuration, require
from rml_trainers.networks.backbones.convolutional import Backbone
from rml_trainers.networks.backbones.vit import build_vit
from rml_trainers.networks.layers import initialise, without_padding
from rml_trainers.networks.network import SegmentationNetwork, SegmentationOutput
from rml_trainers.networks.setr_decoders import DECODERS
from rml_trainers.noise.config import NoiseConfig
from rml_trainers.settings.contract import NetworkConfig


@configuration
class SetrConfig(NetworkConfig):
    """Network of one student. The paper says only that it is SETR; no auxiliary losses."""

    name: Literal["setr"] = "setr"
    backbone: str = "vit_large_patch16_384"
    """Any plain vision transformer of timm, DINOv2's and DINOv3's too (SETR's paper: ViT-Large,
    patch 16)."""
    decoder: Literal["naive", "pup"] = "pup"
    """SETR-Naïve or progressive upsampling; not stated in the paper, `pup` is SETR's best on
    Cityscapes."""
    decoder_width: int = 256
    """Channels of the decoder, and of the feature that the last linear classifier reads (SETR's
    code: 256)."""
    weights: Literal["none", "timm", "file"] = "timm"
    """`none`: random; `timm`: timm's hub; `file`: `weights_file`, position embeddings of another
    grid are resampled."""
    weights_file: str | None = None
    batchnorm: Literal["trainable", "frozen_affine", "frozen"] = "trainable"
    """Of the decoder, the only place with BatchNorm; `frozen` leaves its new layers at the
    identity."""

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


class SETR(SegmentationNetwork):
    """Transformer → decoder → dropout → linear classifier, all maps covering exactly the image.

    The feature is the decoder's map, at the resolution of the logits: one cell per patch with
    `naive`, eight times as many along each side with `pup`.
    """

    def __init__(
        self,
        config: SetrConfig,
        backbone: Backbone,
        patch_px: int,
        num_classes: int,
        dropout: float,
    ) -> None:
        super().__init__(
            mean=backbone.mean,
            std=backbone.std,
            feature_width=config.decoder_width,
            projection_width=None,
            align_corners=False,
            batchnorm=config.batchnorm,
        )
        self.patch_px = patch_px
        self.backbone = backbone.module
        self.decoder = DECODERS[config.decoder](backbone.feature_width, config.decoder_width)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Conv2d(config.decoder_width, num_classes, kernel_size=1)
        initialise(self.classifier)
        self.apply_batchnorm_mode()

    def forward(self, images: Tensor) -> SegmentationOutput:
        (patches,) = self.backbone(self.normalise(images))
        padded_px = (patches.shape[-2] * self.patch_px, patches.shape[-1] * self.patch_px)
        feature = without_padding(
            self.decoder(patches), padded_px, (images.shape[-2], images.shape[-1])
        )
        return self.classify(feature)

    def classify(self, feature: Tensor) -> SegmentationOutput:
        return SegmentationOutput(self.classifier(self.dropout(feature)), feature, None)

    def head_modules(self) -> Sequence[nn.Module]:
        return (self.decoder, self.classifier)


def build_setr(
    config: SetrConfig, num_classes: int, noise: NoiseConfig, pretrained: bool = True
) -> SETR:
    """Build with pretrained weights loaded; dropout and stochastic depth only where `noise.model`
    is on.

    `pretrained=False` builds the same graph with random weights and opens nothing.
    """
    dropout, drop_path = (noise.dropout, noise.drop_path) if noise.model else (0.0, 0.0)
    backbone, patch_px = build_vit(
        config.backbone,
        drop_path=drop_path,
        weights=config.weights if pretrained else "none",
        weights_file=config.weights_file if pretrained else None,
    )
    return SETR(config, backbone, patch_px, num_classes, dropout)
