"""Deeplabv2: a timm backbone, dropout, and ASPP whose dilated convolutions are summed."""

import dataclasses
from collections.abc import Sequence
from typing import Literal, Self

from torch import Tensor, nn

from rml_trainers.configuration import configuration, require
from rml_trainers.networks.backbones.coco import ARCHITECTURE, build_coco_backbone
from rml_trainers.networks.backbones.convolutional import Backbone, build_backbone
from rml_trainers.networks.layers import SummedASPP, initialise
from rml_trainers.networks.network import SegmentationNetwork, SegmentationOutput
from rml_trainers.noise.config import NoiseConfig
from rml_trainers.settings.contract import NetworkConfig

ASPP_RATES = (6, 12, 18, 24)
"""Deeplabv2 (Chen et al., 2017), ASPP-L."""
PROJECTION_GROUPS = 32
"""GroupNorm of the projection head (ProDA's code)."""


@configuration
class DeepLabV2Config(NetworkConfig):
    """Network of one student."""

    name: Literal["deeplab_v2"] = "deeplab_v2"
    backbone: str = "resnet101"
    """Any timm model that supports `features_only`."""
    output_stride: Literal[8, 16] = 8
    weights: Literal["none", "timm", "file", "coco"] = "timm"
    """`none`: random; `timm`: timm's hub, or an installed weights package; `file`: `weights_file`
    with timm's keys; `coco`: `weights_file` is the Deeplab family's `resnet101COCO`, and the graph
    becomes the one it belongs to."""
    weights_file: str | None = None
    aspp_branches: Literal[2, 4] = 4
    """Rates 6/12/18/24, or only 6/12 as most public baselines have it through a misplaced
    `return`."""
    aspp_rates: tuple[int, ...] | None = None
    """Dilations in cells of the map, one per branch; default: the first of 6/12/18/24. A rate as
    large as the map of a training crop leaves its outer weights untrained, and a larger map at
    evaluation then reads them."""
    batchnorm: Literal["trainable", "frozen_affine", "frozen"] = "trainable"
    """`frozen_affine`: scale and shift fixed, batch statistics live; `frozen`: running statistics
    too."""
    projection_width: int | None = None
    """Width of a projection head in front of the classifier (ProDA: 256); default: none."""

    def __post_init__(self) -> None:
        given = self.aspp_rates
        require(
            given is None or (len(given) == self.aspp_branches and min(given) >= 1),
            "aspp_rates",
            given,
            f"{self.aspp_branches} dilations of at least 1, as many as aspp_branches",
        )
        if given == ASPP_RATES[: self.aspp_branches]:
            object.__setattr__(self, "aspp_rates", None)  # written out, it is still the same run
        with_file = (self.weights in ("file", "coco")) == (self.weights_file is not None)
        require(
            with_file,
            "weights_file",
            self.weights_file,
            "a path exactly when weights is 'file' or 'coco'",
        )
        fits = self.weights != "coco" or self.backbone == ARCHITECTURE
        require(
            fits, "backbone", self.backbone, f"{ARCHITECTURE!r}, the only one with weights: coco"
        )
        width = self.projection_width
        require(
            width is None or (width >= 32 and width % 32 == 0),
            "projection_width",
            width,
            "a multiple of 32",
        )

    @property
    def rates(self) -> tuple[int, ...]:
        """Dilation of every branch of the ASPP."""
        return self.aspp_rates or ASPP_RATES[: self.aspp_branches]

    @property
    def dilations_px(self) -> tuple[int, ...]:
        return tuple(rate * self.output_stride for rate in self.rates)

    @property
    def hub_model(self) -> str | None:
        return self.backbone if self.weights == "timm" else None

    def without_weights_file(self) -> Self:
        return dataclasses.replace(self, weights="none", weights_file=None)


class DeepLabV2(SegmentationNetwork):
    """Backbone → dropout → summed ASPP with K outputs.

    With a projection head (ProDA): backbone → summed ASPP → GroupNorm → dropout → linear
    classifier. Dropout stands in front of the last classifier only (paper, 5.2) and drops single
    elements (the paper names no channel dropout).
    """

    def __init__(
        self, config: DeepLabV2Config, backbone: Backbone, num_classes: int, dropout: float
    ) -> None:
        super().__init__(
            mean=backbone.mean,
            std=backbone.std,
            feature_width=backbone.feature_width,
            projection_width=config.projection_width,
            align_corners=True,
            batchnorm=config.batchnorm,
        )
        self.backbone = backbone.module
        self.dropout = nn.Dropout(dropout)
        self.aspp = SummedASPP(
            backbone.feature_width, config.projection_width or num_classes, config.rates
        )
        self.projection_norm: nn.GroupNorm | None = None
        self.classifier: nn.Conv2d | None = None
        if config.projection_width is not None:
            self.projection_norm = nn.GroupNorm(PROJECTION_GROUPS, config.projection_width)
            self.classifier = nn.Conv2d(config.projection_width, num_classes, kernel_size=1)
            initialise(self.classifier)
        self.apply_batchnorm_mode()

    def forward(self, images: Tensor) -> SegmentationOutput:
        (feature,) = self.backbone(self.normalise(images))
        return self.classify(feature)

    def classify(self, feature: Tensor) -> SegmentationOutput:
        if self.projection_norm is None or self.classifier is None:
            return SegmentationOutput(self.aspp(self.dropout(feature)), feature, None)
        projected = self.projection_norm(self.aspp(feature))
        return SegmentationOutput(self.classifier(self.dropout(projected)), feature, projected)

    def head_modules(self) -> Sequence[nn.Module]:
        parts = (self.aspp, self.projection_norm, self.classifier)
        return [part for part in parts if part is not None]


def build_deeplab_v2(
    config: DeepLabV2Config, num_classes: int, noise: NoiseConfig, pretrained: bool = True
) -> DeepLabV2:
    """Build with pretrained weights loaded; dropout and stochastic depth only where `noise.model`
    is on.

    `pretrained=False` builds the same graph with random weights and opens nothing.
    """
    dropout, drop_path = (noise.dropout, noise.drop_path) if noise.model else (0.0, 0.0)
    file = config.weights_file if pretrained else None
    if config.weights == "coco":
        backbone = build_coco_backbone(
            output_stride=config.output_stride, drop_path=drop_path, weights_file=file
        )
    else:
        backbone = build_backbone(
            config.backbone,
            output_stride=config.output_stride,
            drop_path=drop_path,
            weights=config.weights if pretrained else "none",
            weights_file=file,
        )
    return DeepLabV2(config, backbone, num_classes, dropout)
