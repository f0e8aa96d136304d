"""Deeplabv3+ against its equations, written out with single convolutions on the network's own
weights."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from rml_trainers.networks.deeplab_v3_plus import (
    DeepLabV3Plus,
    DeepLabV3PlusConfig,
    build_deeplab_v3_plus,
)
from rml_trainers.noise.config import NoiseConfig
from tests.support.networks.moved_weights import moved

pytestmark = pytest.mark.usefixtures("single_thread")
RATES = (1, 2, 3)
CONFIG = DeepLabV3PlusConfig(
    backbone="test_resnet", weights="none", aspp_rates=RATES, decoder_width=8
)


@pytest.fixture
def network() -> DeepLabV3Plus:
    torch.manual_seed(0)
    return moved(build_deeplab_v3_plus(CONFIG, 3, NoiseConfig(model=False))).double().eval()


def layer(state: dict[str, Tensor], name: str, maps: Tensor, rate: int = 1) -> Tensor:
    """Convolution, BatchNorm with running statistics, ReLU."""
    weight = state[f"{name}.0.weight"]
    size = weight.shape[-1]
    maps = functional.conv2d(maps, weight, padding=size // 2 * rate, dilation=rate)
    mean, var, scale, shift = (
        state[f"{name}.1.{part}"].view(1, -1, 1, 1)
        for part in ("running_mean", "running_var", "weight", "bias")
    )
    return ((maps - mean) / (var + 1e-5).sqrt() * scale + shift).clamp(min=0)


def bilinear(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Corners on corners, one target cell at a time."""
    (height, width) = maps.shape[-2:]
    out = maps.new_zeros(*maps.shape[:2], *size)
    for y in range(size[0]):
        for x in range(size[1]):
            row = y * (height - 1) / (size[0] - 1)
            column = x * (width - 1) / (size[1] - 1)
            top = min(int(row), height - 2)
            left = min(int(column), width - 2)
            down = row - top
            right = column - left
            upper = maps[..., top, left] * (1 - right) + maps[..., top, left + 1] * right
            lower = maps[..., top + 1, left] * (1 - right) + maps[..., top + 1, left + 1] * right
            out[..., y, x] = upper * (1 - down) + lower * down
    return out


@torch.no_grad()
def test_head_is_concatenated_aspp_joined_with_the_early_map(network: DeepLabV3Plus) -> None:
    images = torch.rand(2, 3, 64, 96, dtype=torch.float64)
    early, last = network.backbone(network.normalise(images))
    assert early.shape[-2:] == (16, 24) and last.shape[-2:] == (4, 6)
    state = network.state_dict()
    branches = [layer(state, "aspp.pointwise", last)]
    branches += [layer(state, f"aspp.dilated.{n}", last, rate) for n, rate in enumerate(RATES)]
    pooled = layer(state, "aspp.pooled", last.mean(dim=(2, 3), keepdim=True))
    branches.append(pooled.expand_as(branches[0]))
    context = layer(state, "aspp.project", torch.cat(branches, dim=1))
    joined = torch.cat([layer(state, "reduce", early), bilinear(context, (16, 24))], dim=1)
    feature = layer(state, "fuse.1", layer(state, "fuse.0", joined))
    logits = functional.conv2d(feature, state["classifier.weight"], state["classifier.bias"])
    output = network(images)
    torch.testing.assert_close(output.feature, feature)
    torch.testing.assert_close(output.logits, logits)


@torch.no_grad()
def test_an_early_map_has_48_channels_in_the_head(network: DeepLabV3Plus) -> None:
    assert network.get_parameter("reduce.0.weight").shape[0] == 48
    assert network.get_parameter("fuse.0.0.weight").shape[:2] == (8, 48 + 8)


@pytest.mark.parametrize(("stride", "rates"), [(16, (6, 12, 18)), (8, (12, 24, 36))])
def test_usual_rates_go_by_the_output_stride(stride: int, rates: tuple[int, ...]) -> None:
    assert stride in (8, 16)
    config = DeepLabV3PlusConfig(output_stride=8 if stride == 8 else 16)
    assert config.rates == rates
    assert config.dilations_px == tuple(stride * rate for rate in rates)
