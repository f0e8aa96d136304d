"""SegFormer's head against its equations, on the network's own weights."""

import pytest
import torch
from torch import Tensor

from rml_trainers.networks.segformer_head import (
    SegformerHead,
    SegformerHeadConfig,
    build_segformer_head,
)
from rml_trainers.noise.config import NoiseConfig
from tests.support.networks.moved_weights import moved

pytestmark = pytest.mark.usefixtures("single_thread")
CONFIG = SegformerHeadConfig(backbone="test_convnext", weights="none", decoder_width=6)


@pytest.fixture
def network() -> SegformerHead:
    torch.manual_seed(0)
    return moved(build_segformer_head(CONFIG, 3, NoiseConfig(model=False))).double().eval()


def at_centres(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear, each cell in the middle of an equal piece of the image."""
    (height, width) = maps.shape[-2:]
    out = maps.new_zeros(*maps.shape[:2], *size)
    for y in range(size[0]):
        for x in range(size[1]):
            row = min(max((y + 0.5) * height / size[0] - 0.5, 0), height - 1)
            column = min(max((x + 0.5) * width / size[1] - 0.5, 0), width - 1)
            top = int(row)
            left = int(column)
            below = min(top + 1, height - 1)
            beside = min(left + 1, width - 1)
            down = row - top
            right = column - left
            upper = maps[..., top, left] * (1 - right) + maps[..., top, beside] * right
            lower = maps[..., below, left] * (1 - right) + maps[..., below, beside] * right
            out[..., y, x] = upper * (1 - down) + lower * down
    return out


@torch.no_grad()
def test_four_maps_are_projected_enlarged_joined_and_fused(network: SegformerHead) -> None:
    images = torch.rand(1, 3, 64, 96, dtype=torch.float64)
    maps = network.backbone(network.normalise(images))
    sizes = [tuple(each.shape[-2:]) for each in maps]
    assert sizes == [(16, 24), (8, 12), (4, 6), (2, 3)]
    state = network.state_dict()
    projected = []
    for number, each in enumerate(maps):
        weight = state[f"projections.{number}.weight"][:, :, 0, 0]
        bias = state[f"projections.{number}.bias"].view(1, -1, 1, 1)
        linear = torch.einsum("oi,bihw->bohw", weight, each) + bias
        projected.append(at_centres(linear, (16, 24)))
    joined = torch.cat(projected[::-1], dim=1)
    fused = torch.einsum("oi,bihw->bohw", state["fuse.0.weight"][:, :, 0, 0], joined)
    mean, var, scale, shift = (
        state[f"fuse.1.{part}"].view(1, -1, 1, 1)
        for part in ("running_mean", "running_var", "weight", "bias")
    )
    feature = ((fused - mean) / (var + 1e-5).sqrt() * scale + shift).clamp(min=0)
    weight = state["classifier.weight"][:, :, 0, 0]
    bias = state["classifier.bias"].view(1, -1, 1, 1)
    output = network(images)
    torch.testing.assert_close(output.feature, feature)
    logits = torch.einsum("oi,bihw->bohw", weight, feature) + bias
    torch.testing.assert_close(output.logits, logits)
