"""Layers that several networks share, in plain torch."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

INITIAL_STD = 0.01
"""New layers start from N(0, 0.01) with zero bias (Deeplabv2's code)."""


def initialise(layer: nn.Module) -> None:
    """Deeplabv2's initialisation of a new convolution."""
    assert isinstance(layer, nn.Conv2d) and layer.bias is not None
    nn.init.normal_(layer.weight, std=INITIAL_STD)
    nn.init.zeros_(layer.bias)


class SummedASPP(nn.Module):
    """Parallel dilated 3×3 convolutions of the same map, summed: [B, D, h, w] → [B, out, h, w]."""

    def __init__(self, in_width: int, out_width: int, rates: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Conv2d(in_width, out_width, kernel_size=3, padding=rate, dilation=rate)
            for rate in rates
        )
        for branch in self.branches:
            initialise(branch)

    def convolutions(self) -> list[nn.Conv2d]:
        """One per rate, each with a bias."""
        return [branch for branch in self.branches if isinstance(branch, nn.Conv2d)]

    def forward(self, maps: Tensor) -> Tensor:
        first, *others = (branch(maps) for branch in self.branches)
        total: Tensor = sum(others, start=first)
        return total


class ConvNormAct(nn.Sequential):
    """Convolution without bias that keeps the size, BatchNorm, ReLU."""

    def __init__(
        self, in_width: int, out_width: int, kernel_size: int, *, dilation: int = 1
    ) -> None:
        convolution = nn.Conv2d(
            in_width,
            out_width,
            kernel_size,
            padding=kernel_size // 2 * dilation,
            dilation=dilation,
            bias=False,
        )
        super().__init__(convolution, nn.BatchNorm2d(out_width), nn.ReLU(inplace=True))


class ConcatenatedASPP(nn.Module):
    """Deeplabv3's: 1×1, dilated 3×3 convolutions and the mean of the whole map, side by side, then
    brought to one width by a 1×1 convolution: [B, D, h, w] → [B, out, h, w].

    Every convolution is followed by BatchNorm and ReLU.
    """

    def __init__(self, in_width: int, out_width: int, rates: Sequence[int]) -> None:
        super().__init__()
        self.pointwise = ConvNormAct(in_width, out_width, kernel_size=1)
        self.dilated = nn.ModuleList(
            ConvNormAct(in_width, out_width, kernel_size=3, dilation=rate) for rate in rates
        )
        self.pooled = ConvNormAct(in_width, out_width, kernel_size=1)
        self.project = ConvNormAct((2 + len(rates)) * out_width, out_width, kernel_size=1)

    def forward(self, maps: Tensor) -> Tensor:
        branches = [self.pointwise(maps), *(branch(maps) for branch in self.dilated)]
        mean = self.pooled(maps.mean(dim=(2, 3), keepdim=True))
        branches.append(mean.expand(-1, -1, *maps.shape[-2:]))
        projected: Tensor = self.project(torch.cat(branches, dim=1))
        return projected


def without_padding(
    maps: Tensor,
    padded_px: tuple[int, int],
    image_px: tuple[int, int],
    *,
    align_corners: bool = False,
) -> Tensor:
    """Maps [B, C, h, w] of an image padded at its bottom and right → as many cells over the image
    alone.

    Cells are moved, by bilinear resampling, to where an h × w grid over the image has them; nothing
    changes where nothing was padded. So cells mean the same for every network, and none stands for
    padding (ours).

    Args:
        align_corners: where cells lie, as in the network's upsampling. False: at the centres of
            equal pieces. True: first and last on the centres of the first and last pixel.
    """
    if padded_px == image_px:
        return maps
    rows, columns = (
        _positions(cells, image, padded, maps.device, align_corners=align_corners)
        for cells, image, padded in zip(maps.shape[-2:], image_px, padded_px, strict=True)
    )
    grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1).expand(
        maps.shape[0], -1, -1, -1
    )
    moved = functional.grid_sample(
        maps.float(), grid, mode="bilinear", padding_mode="border", align_corners=align_corners
    )
    return moved.to(maps.dtype)


def _positions(
    cells: int, image: int, padded: int, device: torch.device, *, align_corners: bool
) -> Tensor:
    """Places of the cells over the image along one axis, as `grid_sample` counts them over the
    padded one."""
    if align_corners:
        share = torch.arange(cells, device=device) / max(1, cells - 1)
        return 2 * share * ((image - 1) / max(1, padded - 1)) - 1
    return (2 * torch.arange(cells, device=device) + 1) / cells * (image / padded) - 1
