"""The ResNet with a deep stem that CPS, U2PL, AugSeg and UniMatch begin with, against a plain
re-telling of their code on the names of their file.

The state dict is random, with the key names and shapes of their `resnet50.pth`, classifier
included; deeper ones differ in the number of blocks alone.
"""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from rml_trainers.networks import build_network
from rml_trainers.networks.deeplab_v3_plus import DeepLabV3PlusConfig
from rml_trainers.networks.network import SegmentationNetwork
from rml_trainers.noise.config import NoiseConfig

State = dict[str, Tensor]
BLOCKS = {"layer1": 3, "layer2": 4, "layer3": 6, "layer4": 3}
WIDTHS = {"layer1": 64, "layer2": 128, "layer3": 256, "layer4": 512}
STEM = (("conv1.0", 3, 64), ("conv1.3", 64, 64), ("conv1.6", 64, 128))
pytestmark = pytest.mark.usefixtures("single_thread")


def _convolution(state: State, key: str, out_width: int, in_width: int, size: int) -> None:
    bound = (6 / (in_width * size * size)) ** 0.5
    state[f"{key}.weight"] = torch.empty(out_width, in_width, size, size).uniform_(-bound, bound)


def _batchnorm(state: State, key: str, width: int, scale: float = 1.0) -> None:
    state[f"{key}.weight"] = scale * torch.empty(width).uniform_(0.5, 1.5)
    state[f"{key}.bias"] = 0.1 * torch.randn(width)
    state[f"{key}.running_mean"] = 0.1 * torch.randn(width)
    state[f"{key}.running_var"] = torch.empty(width).uniform_(0.5, 1.5)
    state[f"{key}.num_batches_tracked"] = torch.tensor(1)


def random_state() -> State:
    state: State = {}
    for (key, in_width, width), norm in zip(STEM, ("conv1.1", "conv1.4", "bn1"), strict=True):
        _convolution(state, key, width, in_width, 3)
        _batchnorm(state, norm, width)
    in_width = 128
    for layer, num_blocks in BLOCKS.items():
        width = WIDTHS[layer]
        for block in range(num_blocks):
            key = f"{layer}.{block}"
            for i, (size, narrow, wide) in enumerate(
                ((1, width, in_width), (3, width, width), (1, 4 * width, width))
            ):
                _convolution(state, f"{key}.conv{i + 1}", narrow, wide, size)
                _batchnorm(state, f"{key}.bn{i + 1}", narrow, scale=0.3 if i == 2 else 1.0)
            if block == 0:
                _convolution(state, f"{key}.downsample.0", 4 * width, in_width, 1)
                _batchnorm(state, f"{key}.downsample.1", 4 * width)
            in_width = 4 * width
    state["fc.weight"] = torch.randn(1000, 2048)
    state["fc.bias"] = torch.randn(1000)
    return state


def reference(state: State, images: Tensor, output_stride: int) -> tuple[Tensor, Tensor]:
    """Maps of `layer1` and `layer4`; the first block of a stage without stride keeps the dilation
    of the stage before."""

    def norm(x: Tensor, key: str) -> Tensor:
        mean = state[f"{key}.running_mean"]
        var = state[f"{key}.running_var"]
        return functional.batch_norm(x, mean, var, state[f"{key}.weight"], state[f"{key}.bias"])

    x = images
    for (key, _, _), name, stride in zip(
        STEM, ("conv1.1", "conv1.4", "bn1"), (2, 1, 1), strict=True
    ):
        x = functional.conv2d(x, state[f"{key}.weight"], stride=stride, padding=1)
        x = functional.relu(norm(x, name))
    x = functional.max_pool2d(x, 3, stride=2, padding=1)
    strides = {"layer1": 1, "layer2": 2, "layer3": 2, "layer4": 1}
    dilations = {"layer1": (1, 1), "layer2": (1, 1), "layer3": (1, 1), "layer4": (1, 2)}
    if output_stride == 8:
        strides["layer3"] = 1
        dilations |= {"layer3": (1, 2), "layer4": (2, 4)}
    early = x
    for layer, num_blocks in BLOCKS.items():
        for block in range(num_blocks):
            key = f"{layer}.{block}"
            stride = strides[layer] if block == 0 else 1
            dilation = dilations[layer][min(block, 1)]
            y = functional.relu(
                norm(functional.conv2d(x, state[f"{key}.conv1.weight"]), f"{key}.bn1")
            )
            y = functional.conv2d(y, state[f"{key}.conv2.weight"], None, stride, dilation, dilation)
            y = functional.relu(norm(y, f"{key}.bn2"))
            y = norm(functional.conv2d(y, state[f"{key}.conv3.weight"]), f"{key}.bn3")
            if block == 0:
                x = functional.conv2d(x, state[f"{key}.downsample.0.weight"], stride=stride)
                x = norm(x, f"{key}.downsample.1")
            x = functional.relu(x + y)
        if layer == "layer1":
            early = x
    return early, x


@pytest.fixture(scope="module")
def state() -> State:
    torch.manual_seed(0)
    return random_state()


@pytest.fixture(scope="module")
def file(state: State, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("public") / "resnet50.pth"
    torch.save(state, path)
    return path


@pytest.fixture
def without_initialisation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing weights that a file then overwrites takes longer than all the rest."""
    for name in ("kaiming_normal_", "kaiming_uniform_"):
        monkeypatch.setattr(nn.init, name, lambda tensor, **_: tensor)


def _network(file: Path, output_stride: int) -> SegmentationNetwork:
    config = DeepLabV3PlusConfig(
        backbone="resnet50s",
        output_stride=8 if output_stride == 8 else 16,
        weights="file",
        weights_file=str(file),
    )
    return build_network(config, 5, NoiseConfig(model=False)).eval()


@torch.no_grad()
@pytest.mark.usefixtures("without_initialisation")
@pytest.mark.parametrize(("output_stride", "cells"), [(16, (3, 4)), (8, (5, 7))])
def test_their_file_gives_their_maps(
    output_stride: int, cells: tuple[int, int], state: State, file: Path
) -> None:
    network = _network(file, output_stride)
    images = torch.rand(1, 3, 40, 56, generator=torch.Generator().manual_seed(1))
    normalised = network.normalise(images)
    expected = reference(state, normalised, output_stride)
    assert expected[1].shape[2:] == cells
    for ours, theirs in zip(network.backbone(normalised), expected, strict=True):
        assert theirs.abs().max() > 1e-2 and ours.shape == theirs.shape
        assert (ours - theirs).abs().max() < 1e-4 * theirs.abs().max()
