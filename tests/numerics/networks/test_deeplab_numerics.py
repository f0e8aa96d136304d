"""ASPP and upsampling against slow, independent NumPy loops."""

import itertools

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from rml_trainers.networks.deeplab_v2 import (
    ASPP_RATES,
    DeepLabV2,
    DeepLabV2Config,
)
from rml_trainers.networks.deeplab_v2 import build_deeplab_v2 as build
from rml_trainers.networks.layers import INITIAL_STD, SummedASPP
from rml_trainers.noise.config import NoiseConfig

Array = npt.NDArray[np.float64]


def _dilated_convolution(maps: Array, weight: Array, bias: Array, rate: int) -> Array:
    """[D, h, w] → [out, h, w] with zeros outside the map."""
    num_out = weight.shape[0]
    (height, width) = maps.shape[1:]
    result = np.zeros((num_out, height, width))
    for out, y, x in itertools.product(range(num_out), range(height), range(width)):
        total = bias[out]
        for i, j in itertools.product(range(3), range(3)):
            row = y + (i - 1) * rate
            column = x + (j - 1) * rate
            if 0 <= row < height and 0 <= column < width:
                total += float(weight[out, :, i, j] @ maps[:, row, column])
        result[out, y, x] = total
    return result


@pytest.mark.parametrize("size", [(5, 7), (13, 8), (7, 26)], ids=str)
@pytest.mark.parametrize("num_branches", [2, 4])
def test_aspp_is_the_sum_of_all_its_dilated_convolutions(
    num_branches: int, size: tuple[int, int]
) -> None:
    rates = ASPP_RATES[:num_branches]
    aspp = SummedASPP(3, 2, rates).double()
    for parameter in aspp.parameters():
        nn.init.normal_(parameter)
    maps = torch.randn(1, 3, *size, dtype=torch.float64)
    expected = np.zeros((2, *size))
    for rate, branch in zip(rates, aspp.branches, strict=True):
        assert isinstance(branch, nn.Conv2d) and branch.bias is not None
        weight = branch.weight.detach().numpy()
        bias = branch.bias.detach().numpy()
        expected += _dilated_convolution(maps[0].numpy(), weight, bias, rate)
    np.testing.assert_allclose(aspp(maps)[0].detach().numpy(), expected, rtol=1e-10, atol=1e-10)


def test_a_network_has_the_rates_that_it_is_given() -> None:
    torch.manual_seed(0)
    config = DeepLabV2Config(
        backbone="test_resnet", weights="none", aspp_branches=2, aspp_rates=(1, 3)
    )
    network = build(config, 3, NoiseConfig(model=False)).double().eval()
    output = network(torch.rand(1, 3, 40, 56, dtype=torch.float64))
    feature = output.feature[0].detach().numpy()
    expected = np.zeros((3, *feature.shape[1:]))
    for rate, branch in zip((1, 3), network.aspp.convolutions(), strict=True):
        assert branch.bias is not None
        weight = branch.weight.detach().numpy()
        expected += _dilated_convolution(feature, weight, branch.bias.detach().numpy(), rate)
    np.testing.assert_allclose(output.logits[0].detach().numpy(), expected, rtol=1e-10, atol=1e-10)


def _bilinear_align_corners(maps: Array, height: int, width: int) -> Array:
    """[C, h, w] → [C, H, W]: corners of both grids coincide."""
    result = np.zeros((maps.shape[0], height, width))
    for y, x in itertools.product(range(height), range(width)):
        row = y * (maps.shape[1] - 1) / (height - 1)
        column = x * (maps.shape[2] - 1) / (width - 1)
        top = min(int(row), maps.shape[1] - 2)
        left = min(int(column), maps.shape[2] - 2)
        down = row - top
        right = column - left
        for i, j in itertools.product(range(2), range(2)):
            share = (down if i else 1 - down) * (right if j else 1 - right)
            result[:, y, x] += share * maps[:, top + i, left + j]
    return result


def test_upsampling_is_bilinear_with_aligned_corners(network: DeepLabV2) -> None:
    maps = np.random.default_rng(0).normal(size=(3, 4, 5))
    expected = _bilinear_align_corners(maps, 19, 33)
    upsampled = network.upsample(torch.from_numpy(maps)[None], (19, 33))
    assert upsampled.dtype == torch.float32
    np.testing.assert_allclose(upsampled[0].numpy(), expected, atol=1e-5)
    np.testing.assert_allclose(upsampled[0, :, 0, 0].numpy(), maps[:, 0, 0], atol=1e-6)
    np.testing.assert_allclose(upsampled[0, :, -1, -1].numpy(), maps[:, -1, -1], atol=1e-6)


def test_new_layers_start_from_the_stated_distribution() -> None:
    torch.manual_seed(0)
    aspp = SummedASPP(256, 20, ASPP_RATES)
    weights = torch.cat(
        [parameter.flatten() for name, parameter in aspp.named_parameters() if "weight" in name]
    ).detach()
    assert abs(float(weights.std()) - INITIAL_STD) < 1e-4
    assert abs(float(weights.mean())) < 1e-4
    assert all(not parameter.any() for name, parameter in aspp.named_parameters() if "bias" in name)


def test_the_projection_head_is_aspp_then_group_norm_then_a_linear_classifier() -> None:
    torch.manual_seed(0)
    config = DeepLabV2Config(backbone="test_resnet", weights="none", projection_width=64)
    network = build(config, 3, NoiseConfig()).eval()
    with torch.no_grad():
        output = network(torch.rand(2, 3, 48, 64))
        assert output.projected is not None and network.classifier is not None
        groups = (
            network.aspp(output.feature)
            .double()
            .numpy()
            .reshape(2, 32, 2, *output.feature.shape[2:])
        )
        mean = groups.mean(axis=(2, 3, 4), keepdims=True)
        variance = groups.var(axis=(2, 3, 4), keepdims=True)
        expected = ((groups - mean) / np.sqrt(variance + 1e-5)).reshape(output.projected.shape)
        np.testing.assert_allclose(output.projected.numpy(), expected, atol=1e-4)
        weight = network.classifier.weight.numpy()[:, :, 0, 0]
        bias = network.classifier.bias
        assert bias is not None
        logits = np.einsum("kp,bphw->bkhw", weight, expected) + bias.numpy()[:, None, None]
        np.testing.assert_allclose(output.logits.numpy(), logits, atol=1e-4)


@pytest.fixture
def network() -> DeepLabV2:
    return build(DeepLabV2Config(backbone="test_resnet", weights="none"), 3, NoiseConfig())
