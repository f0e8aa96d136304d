"""The COCO backbone against a plain re-telling of the Deeplab family's network on the state dict's
own names.

The state dict is random, with the key names and shapes of the public `resnet101COCO-41f33a49.pth`;
the reference takes BGR in 0 to 255 minus the mean, strides in the first 1×1 convolution and pools
with a rounded-up size.
"""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from rml_trainers.errors import ConfigError
from rml_trainers.networks import build_network
from rml_trainers.networks.backbones.coco import to_first_version
from rml_trainers.networks.backbones.convolutional import build_backbone
from rml_trainers.networks.deeplab_v2 import DeepLabV2Config
from rml_trainers.networks.network import SegmentationNetwork
from rml_trainers.networks.pretrained import key_maps
from rml_trainers.networks.pretrained.weights import read_state
from rml_trainers.noise.config import NoiseConfig

State = dict[str, Tensor]
BLOCKS = {"layer1": 3, "layer2": 4, "layer3": 23, "layer4": 3}
WIDTHS = {"layer1": 64, "layer2": 128, "layer3": 256, "layer4": 512}
NUM_CLASSES = 7
NUM_VOC_CLASSES = 21
BGR_MEAN = torch.tensor((104.007, 116.669, 122.679)).view(1, 3, 1, 1)
pytestmark = pytest.mark.usefixtures("single_thread", "without_initialisation")


def _convolution(state: State, key: str, out_width: int, in_width: int, size: int) -> None:
    bound = (6 / (in_width * size * size)) ** 0.5
    state[f"{key}.weight"] = torch.empty(out_width, in_width, size, size).uniform_(-bound, bound)


def _batchnorm(state: State, key: str, width: int, scale: float = 1.0) -> None:
    state[f"{key}.weight"] = scale * torch.empty(width).uniform_(0.5, 1.5)
    state[f"{key}.bias"] = 0.1 * torch.randn(width)
    state[f"{key}.running_mean"] = 0.1 * torch.randn(width)
    state[f"{key}.running_var"] = torch.empty(width).uniform_(0.5, 1.5)


def random_state() -> State:
    """Old files hold no `num_batches_tracked`."""
    state: State = {}
    _convolution(state, "conv1", 64, 3, 7)
    _batchnorm(state, "bn1", 64, scale=0.02)
    in_width = 64
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
    for branch in range(4):
        _convolution(state, f"layer5.conv2d_list.{branch}", NUM_VOC_CLASSES, 2048, 3)
        state[f"layer5.conv2d_list.{branch}.bias"] = torch.zeros(NUM_VOC_CLASSES)
    return state


def reference(state: State, bgr_255: Tensor, output_stride: int) -> Tensor:
    """Feature map of `layer4` for BGR images in 0 to 255."""

    def norm(x: Tensor, key: str) -> Tensor:
        mean = state[f"{key}.running_mean"]
        var = state[f"{key}.running_var"]
        return functional.batch_norm(x, mean, var, state[f"{key}.weight"], state[f"{key}.bias"])

    x = functional.conv2d(bgr_255 - BGR_MEAN, state["conv1.weight"], stride=2, padding=3)
    x = functional.max_pool2d(
        functional.relu(norm(x, "bn1")), 3, stride=2, padding=1, ceil_mode=True
    )
    strides = {"layer1": 1, "layer2": 2, "layer3": 1 if output_stride == 8 else 2, "layer4": 1}
    dilations = {
        "layer1": 1,
        "layer2": 1,
        "layer3": 2 if output_stride == 8 else 1,
        "layer4": 4 // (output_stride // 8),
    }
    for layer, num_blocks in BLOCKS.items():
        for block in range(num_blocks):
            key = f"{layer}.{block}"
            stride = strides[layer] if block == 0 else 1
            dilation = dilations[layer]
            y = functional.conv2d(x, state[f"{key}.conv1.weight"], stride=stride)
            y = functional.relu(norm(y, f"{key}.bn1"))
            y = functional.conv2d(
                y, state[f"{key}.conv2.weight"], padding=dilation, dilation=dilation
            )
            y = functional.relu(norm(y, f"{key}.bn2"))
            y = norm(functional.conv2d(y, state[f"{key}.conv3.weight"]), f"{key}.bn3")
            if block == 0:
                x = norm(
                    functional.conv2d(x, state[f"{key}.downsample.0.weight"], stride=stride),
                    f"{key}.downsample.1",
                )
            x = functional.relu(x + y)
    return x


@pytest.fixture(scope="module")
def state() -> State:
    torch.manual_seed(0)
    return random_state()


@pytest.fixture(scope="module")
def file(state: State, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the public file is stored: in PyTorch's format from before 1.6."""
    path = tmp_path_factory.mktemp("coco") / "resnet101COCO-41f33a49.pth"
    torch.save(state, path, _use_new_zipfile_serialization=False)
    return path


@pytest.fixture
def without_initialisation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing forty million weights that a file then overwrites takes longer than all the rest."""
    for name in ("kaiming_normal_", "kaiming_uniform_"):
        monkeypatch.setattr(nn.init, name, lambda tensor, **_: tensor)


@pytest.fixture(scope="module")
def network(file: Path) -> SegmentationNetwork:
    return _network(file)


def _images(size_px: tuple[int, int]) -> Tensor:
    return torch.rand(1, 3, *size_px, generator=torch.Generator().manual_seed(1))


def _network(
    file: Path | None, output_stride: int = 8, *, pretrained: bool = True
) -> SegmentationNetwork:
    config = DeepLabV2Config(
        weights="coco",
        weights_file=str(file or "gone.pth"),
        output_stride=8 if output_stride == 8 else 16,
    )
    return build_network(
        config, NUM_CLASSES, NoiseConfig(model=False), pretrained=pretrained
    ).eval()


@torch.no_grad()
def _assert_close(ours: Tensor, expected: Tensor) -> None:
    assert expected.abs().max() > 1e-2
    assert ours.shape == expected.shape
    assert (ours - expected).abs().max() < 1e-4 * expected.abs().max()


@torch.no_grad()
@pytest.mark.parametrize(("output_stride", "cells"), [(8, (6, 8)), (16, (3, 4))])
def test_rgb_in_0_to_1_gives_what_bgr_in_0_to_255_gives(
    output_stride: int, cells: tuple[int, int], state: State, network: SegmentationNetwork
) -> None:
    images = _images((40, 56))  # the stem's pooling rounds 9.5 and 13.5 up
    expected = reference(state, 255 * images.flip(1), output_stride)
    assert expected.shape[2:] == cells
    if output_stride == 16:
        other = _network(None, output_stride, pretrained=False)
        other.load_state_dict(network.state_dict())
        network = other
    _assert_close(network(images).feature, expected)


@torch.no_grad()
def test_a_checkpoint_fills_the_same_graph_without_the_file(network: SegmentationNetwork) -> None:
    empty = _network(None, pretrained=False)
    empty.load_state_dict(network.state_dict())
    assert torch.equal(empty(_images((33, 41))).logits, network(_images((33, 41))).logits)


@torch.no_grad()
def test_timms_own_graph_would_not_do(network: SegmentationNetwork) -> None:
    """The same parameters in ResNet v1.5 give other maps, so the change of graph is what makes them
    equal."""
    plain = build_backbone(
        "resnet101", output_stride=8, drop_path=0.0, weights="none", weights_file=None
    ).module.eval()
    plain.load_state_dict(network.backbone.state_dict())
    normalised = network.normalise(_images((40, 56)))
    (unlike,) = plain(normalised)
    (feature,) = network.backbone(normalised)
    assert unlike.shape[2:] == (5, 7)
    to_first_version(plain)
    assert torch.equal(plain(normalised)[0], feature)


def test_the_head_is_never_taken_over_and_a_prefix_is_understood(state: State) -> None:
    named = {key: key_maps.resnet101_coco(key) for key in state}
    assert {key for key, name in named.items() if name is None} == {
        key for key in state if key.startswith("layer5.")
    }
    assert key_maps.resnet101_coco("Scale.layer3.22.bn2.running_var") == "layer3.22.bn2.running_var"
    assert key_maps.resnet101_coco("Scale.layer5.conv2d_list.3.bias") is None


def test_another_file_is_refused_naming_what_does_not_fit(tmp_path: Path, state: State) -> None:
    def refused(changed: State) -> str:
        torch.save(changed, tmp_path / "other.pth")
        with pytest.raises(ConfigError) as refusal:
            _network(tmp_path / "other.pth")
        return str(refusal.value)

    without = {
        key: tensor for key, tensor in state.items() if key.startswith(("conv1", "bn1", "layer1"))
    }
    assert "'layer2.0.bn1.bias'" in refused(without) and "other.pth" in refused(without)
    assert "no 'conv1.weight' of shape (64, 3, 7, 7)" in refused({"stem.weight": torch.zeros(1)})
    assert len(read_state(tmp_path / "other.pth")) == 1


def test_only_resnet101_has_these_weights() -> None:
    with pytest.raises(ValueError, match="backbone = 'resnet50': expected 'resnet101'"):
        DeepLabV2Config(backbone="resnet50", weights="coco", weights_file="x.pth")
    with pytest.raises(ValueError, match="weights_file = None: expected a path"):
        DeepLabV2Config(weights="coco")
