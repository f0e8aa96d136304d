"""Layers that several networks share, in plain torch."""

from collections.abc import Sequence

from torch import Tensor, nn

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
