"""Activations out of place: the same bits, and no copy that nobody needs."""

import copy

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from rml_trainers.networks import build_network
from rml_trainers.networks.activations import without_copies
from rml_trainers.networks.deeplab_v2 import DeepLabV2Config
from rml_trainers.noise.config import NoiseConfig

pytestmark = pytest.mark.usefixtures("single_thread")
LITE = DeepLabV2Config(backbone="tf_efficientnet_lite0", weights="none", output_stride=16)


def test_gradients_are_the_same_bits_with_fewer_copies() -> None:
    torch.manual_seed(0)
    plain = build_network(LITE, 5, NoiseConfig(model=False))
    changed = copy.deepcopy(plain)
    without_copies(changed)
    num_activations = sum(isinstance(layer, nn.ReLU6) for layer in plain.modules())
    images, copies = torch.rand(2, 3, 32, 32).contiguous(memory_format=torch.channels_last), []
    for network in (plain, changed):
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            logits = network(images).logits
        copies.append(sum(event.count for event in profiled.key_averages() if event.key == "aten::copy_"))
        logits.square().mean().backward()
    assert copies[0] - copies[1] == num_activations > 0
    for (name, mine), theirs in zip(plain.named_parameters(), changed.parameters(), strict=True):
        assert mine.grad is not None and theirs.grad is not None
        assert torch.equal(mine.grad, theirs.grad), name


def test_relu_stays_in_place() -> None:
    layers = nn.Sequential(nn.ReLU(inplace=True), nn.SiLU(inplace=True), nn.Hardswish(inplace=True))
    without_copies(layers)
    assert [layer.inplace for layer in layers] == [True, False, False]
