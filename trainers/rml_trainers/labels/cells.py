"""Which pixel each cell of a network's map lies on."""

import torch
from torch import Tensor


def at_cells(maps: Tensor, cells: tuple[int, int], *, align_corners: bool) -> Tensor:
    """Values [..., H, W] at the pixels that the cells of an h × w map lie on: [..., h, w].

    Args:
        align_corners: where cells lie, as in the network's upsampling.
    """
    rows, columns = (
        _pixels(count, size, maps.device, align_corners=align_corners)
        for count, size in zip(cells, maps.shape[-2:], strict=True)
    )
    return maps[..., rows[:, None], columns[None, :]]


def _pixels(cells: int, size: int, device: torch.device, *, align_corners: bool) -> Tensor:
    """Number of the pixel under each cell along one axis."""
    number = torch.arange(cells, device=device)
    if align_corners:
        return (number * (size - 1) / max(1, cells - 1)).round().long()
    return ((number + 0.5) * size / cells).floor().long()
