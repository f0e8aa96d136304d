"""SETR's decoders and its position embeddings against slow, independent NumPy code."""

from typing import Literal

import numpy as np
import numpy.typing as npt
import pytest
import timm
import torch
from torch import nn

from rml_trainers.networks.layers import INITIAL_STD, ConvNormAct
from rml_trainers.networks.setr import SETR, SetrConfig, build_setr
from rml_trainers.noise.config import NoiseConfig

Array = npt.NDArray[np.float64]
K = 3
pytestmark = pytest.mark.usefixtures("single_thread")


def _stage(maps: Array, stage: nn.Module) -> Array:
    """Convolution with zeros outside, BatchNorm by its running statistics, ReLU: [C, h, w] → [out,
    h, w]."""
    assert isinstance(stage, ConvNormAct)
    convolution, norm, _ = stage
    assert isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None and norm.running_var is not None
    weight: Array = convolution.weight.detach().double().numpy()
    reach = weight.shape[-1] // 2
    (height, width) = maps.shape[1:]
    padded = np.pad(maps, ((0, 0), (reach, reach), (reach, reach)))
    result = np.zeros((len(weight), height, width))
    for i in range(weight.shape[2]):
        for j in range(weight.shape[3]):
            result += np.einsum(
                "oc,chw->ohw", weight[:, :, i, j], padded[:, i : i + height, j : j + width]
            )
    mean = norm.running_mean.double().numpy()
    var = norm.running_var.double().numpy()
    scale = norm.weight.detach().double().numpy()
    shift = norm.bias.detach().double().numpy()
    column = (slice(None), None, None)
    normed: Array = (result - mean[column]) / np.sqrt(var[column] + norm.eps) * scale[
        column
    ] + shift[column]
    return normed.clip(min=0)


def _resized(maps: Array, height: int, width: int) -> Array:
    """Bilinear with pixel centres at half (align_corners=False): [C, h, w] → [C, height, width]."""
    result = np.zeros((maps.shape[0], height, width))
    for y in range(height):
        for x in range(width):
            row = np.clip((y + 0.5) * maps.shape[1] / height - 0.5, 0, maps.shape[1] - 1)
            column = np.clip((x + 0.5) * maps.shape[2] / width - 0.5, 0, maps.shape[2] - 1)
            top = int(row)
            left = int(column)
            bottom = min(top + 1, maps.shape[1] - 1)
            right = min(left + 1, maps.shape[2] - 1)
            upper = (1 - column + left) * maps[:, top, left] + (column - left) * maps[:, top, right]
            lower = (1 - column + left) * maps[:, bottom, left] + (column - left) * maps[
                :, bottom, right
            ]
            result[:, y, x] = (1 - row + top) * upper + (row - top) * lower
    return result


def _network(decoder: Literal["naive", "pup"]) -> SETR:
    torch.manual_seed(0)
    config = SetrConfig(backbone="test_vit", weights="none", decoder=decoder, decoder_width=6)
    network = build_setr(config, K, NoiseConfig(model=False)).eval()
    for module in network.decoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    nn.init.normal_(network.classifier.weight)
    return network


def _classified(feature: Array, network: SETR) -> Array:
    weight = network.classifier.weight.detach().double().numpy()[:, :, 0, 0]
    bias = network.classifier.bias
    assert bias is not None
    logits: Array = (
        np.einsum("kd,dhw->khw", weight, feature) + bias.detach().double().numpy()[:, None, None]
    )
    return logits


@torch.no_grad()
def test_the_naive_decoder_is_two_linear_layers_at_patch_resolution() -> None:
    network = _network("naive")
    images = torch.rand(1, 3, 32, 48)
    patches = network.backbone(network.normalise(images))[0][0].double().numpy()
    assert patches.shape == (64, 2, 3)
    feature = _stage(patches, network.decoder.get_submodule("convolution"))
    output = network(images)
    np.testing.assert_allclose(output.feature[0].numpy(), feature, atol=1e-4)
    np.testing.assert_allclose(output.logits[0].numpy(), _classified(feature, network), atol=1e-4)


@torch.no_grad()
def test_progressive_upsampling_doubles_four_times_before_the_classifier() -> None:
    """Ours leaves the fourth doubling to the upsampling of the logits; the pixels must not know."""
    network = _network("pup")
    images = torch.rand(1, 3, 32, 48)
    feature = network.backbone(network.normalise(images))[0][0].double().numpy()
    stages = list(network.decoder.get_submodule("stages").children())
    assert len(stages) == 4
    for number, stage in enumerate(stages):
        feature = _stage(feature, stage)
        if number == 3:
            np.testing.assert_allclose(network(images).feature[0].numpy(), feature, atol=1e-4)
        feature = _resized(feature, 2 * feature.shape[1], 2 * feature.shape[2])
    assert feature.shape == (6, 32, 48)
    pixels = network.upsample(network(images).logits, (32, 48))[0]
    np.testing.assert_allclose(pixels.numpy(), _classified(feature, network), atol=1e-4)


def test_the_classifier_starts_like_deeplabs() -> None:
    network = build_setr(
        SetrConfig(backbone="test_vit", weights="none", decoder_width=512),
        20,
        NoiseConfig(model=False),
    )
    assert abs(float(network.classifier.weight.detach().std()) - INITIAL_STD) < 3e-4
    assert network.classifier.bias is not None and not network.classifier.bias.any()


def _cubic(distance: Array) -> Array:
    """Keys' kernel with a = −0.5, as Pillow and antialiased resizing have it."""
    x = np.abs(distance)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _bicubic_weights(old: int, new: int) -> Array:
    """[new, old]: weights of an antialiased bicubic resize along one axis."""
    scale = old / new
    centres = (np.arange(new) + 0.5) * scale - 0.5
    weights = _cubic((np.arange(old) - centres[:, None]) / max(scale, 1.0))
    normed: Array = weights / weights.sum(axis=1, keepdims=True)
    return normed


@torch.no_grad()
@pytest.mark.parametrize("size_px", [(48, 80), (192, 224)], ids=str)
def test_position_embeddings_are_resampled_to_the_images_grid(size_px: tuple[int, int]) -> None:
    """Equal to the same transformer built for that size, with the embedding resized by NumPy."""
    network = _network("naive")
    state = {
        key.removeprefix("model."): tensor.clone()
        for key, tensor in network.backbone.state_dict().items()
    }
    old = state["pos_embed"][0, 1:].double().numpy().reshape(10, 10, -1)
    rows, columns = (_bicubic_weights(10, pixels // 16) for pixels in size_px)
    new = np.einsum("yi,xj,ijc->yxc", rows, columns, old).reshape(1, -1, old.shape[-1])
    state["pos_embed"] = torch.cat(
        [state["pos_embed"][:, :1], torch.from_numpy(new).float()], dim=1
    )
    fixed = timm.create_model(
        "test_vit", img_size=size_px, num_classes=0, dynamic_img_size=False
    ).eval()
    fixed.load_state_dict(state)
    images = torch.rand(1, 3, *size_px)
    tokens = fixed.forward_features(images)[0, 1:]
    (maps,) = network.backbone(images)
    np.testing.assert_allclose(maps[0].flatten(1).T.numpy(), tokens.numpy(), atol=2e-4)
