"""Dilations that training crops never reach and evaluation does: told with the way out."""

import pytest
import torch
from torch import nn

from rml_trainers.config import EvaluationConfig, NetworkConfig, RunConfig
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.methods import METHODS
from rml_trainers.networks import build_network
from rml_trainers.networks.deeplab_v2 import DeepLabV2Config
from rml_trainers.networks.deeplab_v3_plus import DeepLabV3PlusConfig
from rml_trainers.noise.config import GeometryConfig, NoiseConfig
from rml_trainers.training.warnings import untrained_weights
from tests.support.tiny import NETWORK_CONFIGS, tiny_config


def config_of(
    rates: tuple[int, ...], crop_px: tuple[int, int] = (24, 32), method: str = "supervised"
) -> RunConfig:
    """Images of 32×48, output stride 8: 3×4 cells of a crop, 4×6 of an image."""
    network = DeepLabV2Config(
        backbone="test_resnet",
        weights="none",
        aspp_branches=4 if len(rates) == 4 else 2,
        aspp_rates=rates,
    )
    return tiny_config(method, network=network, geometry=GeometryConfig(crop_px=crop_px))


@pytest.mark.parametrize(
    ("rates", "lost"),
    [
        ((1, 2), None),
        ((1, 3), "1 of the 2 dilated convolutions look 24 pixels aside"),
        ((1, 2, 4, 5), "2 of the 4 dilated convolutions look 32, 40 pixels aside"),
        ((6, 12), None),
    ],
)
def test_only_what_evaluation_reads_and_training_does_not_is_told(
    rates: tuple[int, ...], lost: str | None, tiny_data: PreparedData
) -> None:
    """A rate of 6 cells lies outside the images too: it only ever reads padding."""
    found = list(untrained_weights(config_of(rates), tiny_data))
    if lost is None:
        assert not found
        return
    (warning,) = found
    assert lost in warning
    for part in (
        "deeplab_v2",
        "crops of 24×32",
        "at 32×48",
        "aspp_rates",
        "inference_px: [24, 32]",
    ):
        assert part in warning


def test_a_tap_that_just_meets_the_map_learns(tiny_data: PreparedData) -> None:
    """With a crop one pixel longer than the rate, the last column reads the first."""
    assert list(untrained_weights(config_of((1, 3), (32, 24)), tiny_data))
    assert not list(untrained_weights(config_of((1, 3), (32, 48)), tiny_data))
    assert not list(untrained_weights(config_of((1, 3), (25, 25)), tiny_data))


def test_windows_of_the_crops_size_are_the_way_out(tiny_data: PreparedData) -> None:
    evaluation = EvaluationConfig(inference="sliding", inference_px=(32, 32))
    config = config_of((1, 4), (32, 32))
    assert list(untrained_weights(config, tiny_data))
    windows = tiny_config(
        "supervised",
        network=config.network,
        geometry=config.geometry,
        evaluation=evaluation,
    )
    assert not list(untrained_weights(windows, tiny_data))


@pytest.mark.parametrize(("method", "is_told"), [("rml", True), ("dmt", True), ("iml", False)])
def test_windows_are_no_way_out_where_whole_images_are_labelled(
    method: str, is_told: bool, tiny_data: PreparedData
) -> None:
    """p⁰ and the first prototypes are made of whole training images, however one evaluates."""
    one = config_of((1, 4), (32, 32), method)
    config = tiny_config(
        method,
        network=one.network,
        geometry=one.geometry,
        evaluation=EvaluationConfig(inference="sliding", inference_px=(32, 32)),
    )
    found = list(untrained_weights(config, tiny_data))
    assert bool(found) == is_told
    for warning in found:
        assert "when a stage begins and whole images are labelled, at 32×48" in warning
        assert "in evaluation" not in warning and "sliding" not in warning
    (both,) = untrained_weights(one, tiny_data)
    assert "in evaluation, at 32×48" in both
    assert ("sliding" in both) != is_told


@pytest.mark.parametrize("name", METHODS)
def test_who_labels_whole_images_says_so(name: str) -> None:
    """Only who stores labels, or gathers prototypes, when a stage begins needs them."""
    config = METHODS[name].config()
    if config.initial_label == "stage":
        assert config.labels_whole_images


def test_each_network_of_a_pair_speaks_for_itself(tiny_data: PreparedData) -> None:
    peer: NetworkConfig = DeepLabV3PlusConfig(
        backbone="test_resnet", weights="none", aspp_rates=(1, 2)
    )
    config = tiny_config(
        "iml",
        network=config_of((1, 2)).network,
        peer_network=peer,
        geometry=GeometryConfig(crop_px=(24, 32)),
    )
    (warning,) = untrained_weights(config, tiny_data)
    assert warning.startswith("deeplab_v3_plus: 1 of the 2 dilated convolutions look 32 pixels")


@pytest.mark.parametrize("name", NETWORK_CONFIGS)
def test_dilations_are_those_of_the_built_layers(name: str) -> None:
    """What a configuration tells is what its network has."""
    config = NETWORK_CONFIGS[name]
    with torch.device("meta"):
        network = build_network(config, 3, NoiseConfig(model=False))
    stride = getattr(config, "output_stride", 1)
    layers = [layer for part in network.head_modules() for layer in part.modules()]
    rates = [layer.dilation[0] for layer in layers if isinstance(layer, nn.Conv2d)]
    told = [px // stride for px in config.dilations_px]
    assert sorted(rate for rate in rates if rate > 1) == sorted(rate for rate in told if rate > 1)
