"""Deeplabv2: a timm backbone, dropout, and ASPP whose dilated convolutions are summed."""

from typing import Literal

from rml_trainers.configuration import configuration, require


@configuration
class DeepLabV2Config:
    """Network of one student."""

    name: Literal["deeplab_v2"] = "deeplab_v2"
    backbone: str = "resnet101"
    """Any timm model that supports `features_only`."""
    output_stride: Literal[8, 16] = 8
    weights: Literal["none", "timm", "file"] = "timm"
    """`none`: random; `timm`: timm's hub, or an installed weights package; `file`: `weights_file`."""
    weights_file: str | None = None
    aspp_branches: Literal[2, 4] = 4
    """Rates 6/12/18/24, or only 6/12 as most public baselines have it through a misplaced `return`."""
    batchnorm: Literal["trainable", "frozen_affine", "frozen"] = "trainable"
    """`frozen_affine`: scale and shift fixed, batch statistics live; `frozen`: running statistics too."""
    projection_width: int | None = None
    """Width of a projection head in front of the classifier (ProDA: 256); default: none."""

    def __post_init__(self) -> None:
        with_file = (self.weights == "file") == (self.weights_file is not None)
        require(with_file, "weights_file", self.weights_file, "a path exactly when weights is 'file'")
        width = self.projection_width
        require(width is None or (width >= 32 and width % 32 == 0), "projection_width", width, "a multiple of 32")
