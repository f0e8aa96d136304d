"""Deeplabv2 as students and teachers use it: outputs, model noise, BatchNorm modes, precisions and
memory formats."""

import copy
from dataclasses import replace
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from rml_trainers.networks import build_network
from rml_trainers.networks.batchnorm import batchnorm_layers
from rml_trainers.networks.deeplab_v2 import DeepLabV2Config
from rml_trainers.networks.network import SegmentationNetwork
from rml_trainers.noise.config import NoiseConfig

CONFIG = DeepLabV2Config(backbone="test_resnet", weights="none")
PROJECTED = replace(CONFIG, projection_width=64)
SILENT = NoiseConfig(model=False)
K = 5


def _network(
    config: DeepLabV2Config = CONFIG, noise: NoiseConfig = SILENT, seed: int = 0
) -> SegmentationNetwork:
    torch.manual_seed(seed)
    network = build_network(config, K, noise)
    for layer in batchnorm_layers(network):
        nn.init.ones_(layer.weight)  # timm starts some residual branches at zero
    return network


def _images(num_images: int = 2) -> Tensor:
    return torch.rand(num_images, 3, 48, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize("branches", [2, 4])
@pytest.mark.parametrize("projection_width", [None, 64])
def test_outputs_have_the_promised_shapes(
    projection_width: int | None, branches: Literal[2, 4], output_stride: Literal[8, 16]
) -> None:
    config = replace(
        CONFIG,
        output_stride=output_stride,
        aspp_branches=branches,
        projection_width=projection_width,
    )
    network = _network(config)
    logits, feature, projected, _ = network(_images())
    cells = (48 // output_stride, 64 // output_stride)
    assert logits.shape == (2, K, *cells)
    assert feature.shape == (2, network.feature_width, *cells)
    assert network.projection_width == projection_width
    assert (projected is None) == (projection_width is None)
    if projected is not None:
        assert projected.shape == (2, projection_width, *cells)
    assert network.upsample(logits, (48, 64)).shape == (2, K, 48, 64)
    assert (
        len([m for m in network.modules() if isinstance(m, nn.Conv2d) and m.dilation[0] >= 6])
        == branches
    )


@pytest.mark.parametrize("config", [CONFIG, PROJECTED], ids=["plain", "projected"])
@pytest.mark.parametrize("batchnorm", ["trainable", "frozen_affine", "frozen"])
def test_every_trainable_parameter_is_in_one_group_and_gets_a_gradient(
    batchnorm: Literal["trainable", "frozen_affine", "frozen"], config: DeepLabV2Config
) -> None:
    network = _network(replace(config, batchnorm=batchnorm))
    network(_images()).logits.square().sum().backward()
    grouped = [*network.backbone_parameters(), *network.head_parameters()]
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    assert len(grouped) == len(set(map(id, grouped))) == len(trainable)
    assert {id(parameter) for parameter in grouped} == {id(parameter) for parameter in trainable}
    assert all(parameter.grad is not None for parameter in trainable)
    frozen = [parameter for parameter in network.parameters() if not parameter.requires_grad]
    expected = [
        parameter for layer in batchnorm_layers(network) for parameter in layer.parameters()
    ]
    assert {id(p) for p in frozen} == (
        {id(p) for p in expected} if batchnorm != "trainable" else set()
    )


@pytest.mark.parametrize(
    ("batchnorm", "statistics_move"),
    [("trainable", True), ("frozen_affine", True), ("frozen", False)],
)
def test_batchnorm_modes_survive_switching_to_training(
    batchnorm: Literal["trainable", "frozen_affine", "frozen"], statistics_move: bool
) -> None:
    network = _network(replace(CONFIG, batchnorm=batchnorm)).eval().train()
    before = copy.deepcopy(network.state_dict())
    first = network(_images()[:1]).logits
    together = network(_images()).logits[:1]
    moved = any(
        not torch.equal(before[key], tensor)
        for key, tensor in network.state_dict().items()
        if "running" in key
    )
    assert moved is statistics_move
    assert torch.allclose(first, together, atol=1e-5) is not statistics_move, (
        "batch statistics depend on the batch"
    )
    assert network.training and network.get_submodule("dropout").training


@pytest.mark.parametrize("config", [CONFIG, PROJECTED], ids=["plain", "projected"])
def test_dropout_acts_in_front_of_the_classifier_in_training_only(config: DeepLabV2Config) -> None:
    network = _network(replace(config, batchnorm="frozen"), NoiseConfig(dropout=0.5, drop_path=0.0))
    first = network(_images())
    second = network(_images())
    assert not torch.equal(first.logits, second.logits)
    assert torch.equal(first.feature, second.feature)
    if first.projected is not None:
        assert torch.equal(first.projected, second.projected)
    network.eval()
    assert torch.equal(network(_images()).logits, network(_images()).logits)


def test_stochastic_depth_moves_the_feature_in_training_only() -> None:
    network = _network(replace(CONFIG, batchnorm="frozen"), NoiseConfig(dropout=0.0, drop_path=0.9))
    assert not torch.equal(network(_images()).feature, network(_images()).feature)
    network.eval()
    assert torch.equal(network(_images()).feature, network(_images()).feature)


def test_no_model_noise_means_none() -> None:
    network = _network(replace(CONFIG, batchnorm="frozen"), SILENT)
    assert torch.equal(network(_images()).logits, network(_images()).logits)


def test_the_seed_decides_the_head_and_equal_seeds_agree() -> None:
    state, same, other = (_network(seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(tensor, same[key]) for key, tensor in state.items())
    assert not torch.equal(state["aspp.branches.0.weight"], other["aspp.branches.0.weight"])


def test_images_are_normalised_with_the_networks_own_saved_statistics() -> None:
    network = _network().eval()
    assert {"mean", "std"} <= network.state_dict().keys()
    shifted = copy.deepcopy(network)
    shifted.mean += 0.1
    shifted.std *= 2.0
    images = _images()
    assert torch.allclose(
        network(images).logits, shifted(images * 2 - network.mean + 0.1).logits, atol=1e-5
    )


@pytest.mark.parametrize("config", [CONFIG, PROJECTED], ids=["plain", "projected"])
def test_channels_last_changes_nothing_but_the_layout(config: DeepLabV2Config) -> None:
    network = _network(config).eval()
    expected = network(_images())
    network.to(memory_format=torch.channels_last)
    output = network(_images().to(memory_format=torch.channels_last))
    assert output.feature.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(output.logits, expected.logits, atol=1e-4, rtol=1e-4)
    output.logits.sum().backward()


@pytest.mark.parametrize("config", [CONFIG, PROJECTED], ids=["plain", "projected"])
def test_bfloat16_autocast_trains_and_stays_near_float32(config: DeepLabV2Config) -> None:
    network = _network(replace(config, batchnorm="frozen")).to(memory_format=torch.channels_last)
    expected = network(_images())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = network(_images())
        upsampled = network.upsample(output.logits, (48, 64))
    assert upsampled.dtype == torch.float32
    scale = expected.feature.std()
    assert (output.feature.float() - expected.feature).abs().mean() < 0.05 * scale
    upsampled.square().mean().backward()  # type: ignore[no-untyped-call]
    assert all(
        p.grad is not None and p.grad.isfinite().all()
        for p in network.parameters()
        if p.requires_grad
    )


def test_a_batch_of_one_trains() -> None:
    logits = _network()(_images(1)).logits
    logits.sum().backward()
    assert logits.isfinite().all()


def test_the_head_alone_projects_as_the_network_does() -> None:
    network = _network(PROJECTED).eval()
    whole = network(_images())
    head = network.classify(whole.feature)
    assert whole.projected is not None and head.projected is not None
    assert torch.equal(head.projected, whole.projected) and torch.equal(head.logits, whole.logits)


@pytest.mark.parametrize("rates", [(1, 2, 3), (1, 2, 3, 0), ()])
def test_there_is_one_rate_per_branch(rates: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"aspp_rates = .*: expected 4 dilations of at least 1"):
        replace(CONFIG, aspp_rates=rates)


def test_rates_written_out_at_their_default_are_the_same_configuration() -> None:
    assert replace(CONFIG, aspp_rates=(6, 12, 18, 24)) == CONFIG
    two = replace(CONFIG, aspp_branches=2)
    assert replace(two, aspp_rates=(6, 12)) == two and two.rates == (6, 12)
    other = replace(two, aspp_rates=(1, 2))
    assert other != two and other.rates == (1, 2)
