"""Discriminators of the adversarial comparators, and their loss."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from rml_trainers import IGNORE_LABEL

SLOPE = 0.2
"""Of the leaky ReLU (both methods' `model/discriminator.py`)."""


class FullyConvolutional(nn.Module):
    """From class probabilities to one logit per pixel: how real each looks (Hung et al., 2018).

    [B, K, H, W] → [B, 1, H, W]: five 4×4 convolutions with stride 2, upsampled (bilinear, corners
    on corners). A side of less than 32 pixels is padded with zeros up to them.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        widths = (num_classes, 64, 128, 256, 512, 1)
        self.convolutions = _halving(widths)
        self.smallest_px = 2 ** len(self.convolutions)

    def forward(self, prob: Tensor) -> Tensor:
        (height, width) = prob.shape[-2:]
        missing = (0, max(0, self.smallest_px - width), 0, max(0, self.smallest_px - height))
        maps = functional.pad(prob, missing)
        *inner, last = self.convolutions
        for convolution in inner:
            maps = functional.leaky_relu(convolution(maps), SLOPE)
        return functional.interpolate(
            last(maps), size=(height, width), mode="bilinear", align_corners=True
        )


class ImageWise(nn.Module):
    """From class probabilities and the image to one logit per image and to its mean features
    (Mittal et al., 2019).

    [B, K + 3, H, W] → [B], [B, 512]: four 4×4 convolutions with stride 2, whole channels dropped
    after the first three, the mean over the map, a linear layer.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        widths = (num_classes + 3, 64, 128, 256, 512)
        self.convolutions = _halving(widths)
        self.drop = nn.Dropout2d(0.5)
        self.last = nn.Linear(widths[-1], 1)

    def forward(self, prob: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        maps = torch.cat([prob, images], dim=1)
        *inner, fourth = self.convolutions
        for convolution in inner:
            maps = self.drop(functional.leaky_relu(convolution(maps), SLOPE))
        feature = functional.leaky_relu(fourth(maps), SLOPE).mean(dim=(2, 3))
        return self.last(feature)[:, 0], feature


def _halving(widths: Sequence[int]) -> nn.ModuleList:
    """4×4 convolutions with stride 2 from width to width."""
    return nn.ModuleList(
        nn.Conv2d(before, after, kernel_size=4, stride=2, padding=1)
        for before, after in pairwise(widths)
    )


def told(logit: Tensor, real: bool) -> Tensor:
    """Binary cross entropy with logits, element by element: −log σ(d) for real, −log σ(−d) for
    not."""
    return functional.softplus(-logit if real else logit)


def one_hot(label: Tensor, num_classes: int) -> Tensor:
    """float32 [B, K, H, W], zero everywhere where the label is 255."""
    known = label != IGNORE_LABEL
    classes = functional.one_hot(torch.where(known, label, 0), num_classes)
    return (classes * known.unsqueeze(-1)).permute(0, 3, 1, 2).float()
