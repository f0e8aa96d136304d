"""What every segmentation network offers, whatever is inside."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from rml_trainers.networks.batchnorm import freeze_affine, hold_statistics

BatchNormMode = Literal["trainable", "frozen_affine", "frozen"]


class SegmentationOutput(NamedTuple):
    """What one forward gives, all at feature resolution."""

    logits: Tensor
    """[B, K, h, w]."""
    feature: Tensor
    """[B, D, h, w]: the backbone's map that the head reads, before dropout."""
    projected: Tensor | None
    """[B, P, h, w]: output of the projection head, before dropout; None without one."""
    encoded: tuple[Tensor, ...] = ()
    """[B, D, h, w] of any size: the maps that the whole head begins with, where that is more than
    the feature, so that `decode` can be given them perturbed. Kept only while a gradient is,
    because nobody else asks for them."""

    @property
    def head_input(self) -> tuple[Tensor, ...]:
        """What `SegmentationNetwork.decode` takes."""
        return self.encoded or (self.feature,)


class SegmentationNetwork(nn.Module, ABC):
    """Base of the networks: normalises its own input, upsamples its own maps, keeps its BatchNorm
    mode.

    Subclasses fill `backbone` and the head, and call `apply_batchnorm_mode` once both are there.
    """

    mean: Tensor
    std: Tensor
    backbone: nn.Module
    input_px: tuple[int, int] | None = None
    """Height and width of the only images that the network takes; None where it takes any."""

    def __init__(
        self,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        feature_width: int,
        last_map_width: int | None = None,
        projection_width: int | None,
        align_corners: bool,
        batchnorm: BatchNormMode,
    ) -> None:
        super().__init__()
        # Saved with the weights they belong to, so that a checkpoint alone says how its input is
        # normalised.
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1))
        self.feature_width = feature_width
        self.last_map_width = last_map_width or feature_width
        """Channels of the last of the maps that the head begins with (`head_input`)."""
        self.projection_width = projection_width
        self.align_corners = align_corners
        self.batchnorm = batchnorm

    @abstractmethod
    def forward(self, images: Tensor) -> SegmentationOutput:
        """Images [B, 3, H, W], RGB in [0, 1]."""

    @abstractmethod
    def classify(self, feature: Tensor) -> SegmentationOutput:
        """What follows on a map [B, D, h, w] such as `SegmentationOutput.feature`, as it is or
        perturbed."""

    def decode(self, maps: Sequence[Tensor], image_px: tuple[int, int]) -> SegmentationOutput:
        """The whole head on maps such as `SegmentationOutput.head_input`, as they are or perturbed.

        Args:
            maps: as many as the network's own.
            image_px: height and width of the images that they come from.
        """
        (feature,) = maps
        return self.classify(feature)

    @abstractmethod
    def head_modules(self) -> Sequence[nn.Module]:
        """The newly initialised layers, which learn at the head's rate."""

    @staticmethod
    def encoded(maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """For `SegmentationOutput.encoded`: the maps while there is a gradient, else nothing."""
        return tuple(maps) if torch.is_grad_enabled() else ()

    def normalise(self, images: Tensor) -> Tensor:
        """From [0, 1] to the range that the backbone was pretrained on."""
        return (images - self.mean) / self.std

    @property
    def zero_colour(self) -> Tensor:
        """[1, 3, 1, 1]: the RGB colour in [0, 1] that `normalise` maps to zero, for padding with
        zeros."""
        return self.mean

    def upsample(self, maps: Tensor, size_px: tuple[int, int]) -> Tensor:
        """Maps [B, C, h, w] at the size of the image, float32, bilinear with the network's own
        alignment."""
        return nn.functional.interpolate(
            maps.float(), size=size_px, mode="bilinear", align_corners=self.align_corners
        )

    def backbone_parameters(self) -> Iterator[nn.Parameter]:
        """Trainable parameters of the backbone."""
        return (parameter for parameter in self.backbone.parameters() if parameter.requires_grad)

    def head_parameters(self) -> Iterator[nn.Parameter]:
        """Trainable parameters of the head."""
        for module in self.head_modules():
            yield from (parameter for parameter in module.parameters() if parameter.requires_grad)

    def apply_batchnorm_mode(self) -> None:
        """Fix scale and shift of every BatchNorm layer unless the mode is `trainable`."""
        if self.batchnorm != "trainable":
            freeze_affine(self)

    def train(self, mode: bool = True) -> "SegmentationNetwork":
        """As usual, but `frozen` BatchNorm layers keep their running statistics whatever the
        mode."""
        super().train(mode)
        if self.batchnorm == "frozen":
            hold_statistics(self)
        return self
