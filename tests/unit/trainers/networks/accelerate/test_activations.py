"""Activations that keep less: the same bits, and fewer bytes between forward and backward."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from rml_trainers.networks import build_network
from rml_trainers.networks.accelerate.activations import (
    LeanReLU6,
    keep_output_of_relu6,
    write_anew,
)
from rml_trainers.networks.deeplab_v2 import DeepLabV2Config
from rml_trainers.noise.config import NoiseConfig

pytestmark = pytest.mark.usefixtures("single_thread")
LITE = DeepLabV2Config(backbone="tf_efficientnet_lite0", weights="none", output_stride=16)


def kept_bytes(network: nn.Module, images: Tensor) -> tuple[Tensor, int]:
    """Logits, and the bytes that are kept for the backward pass beside the weights."""
    storages: dict[int, int] = {}
    weights = {tensor.untyped_storage().data_ptr() for tensor in network.state_dict().values()}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        logits: Tensor = network(images).logits
    return logits, sum(storages.values())


def test_gradients_are_the_same_bits_with_less_kept() -> None:
    torch.manual_seed(0)
    plain = build_network(LITE, 5, NoiseConfig(model=False))
    changed = copy.deepcopy(plain)
    keep_output_of_relu6(changed)
    images = torch.rand(2, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    kept = []
    for network in (plain, changed):
        logits, num_bytes = kept_bytes(network, images)
        kept.append(num_bytes)
        logits.square().mean().backward()  # type: ignore[no-untyped-call]
    for (name, mine), theirs in zip(plain.named_parameters(), changed.parameters(), strict=True):
        assert mine.grad is not None and theirs.grad is not None
        assert torch.equal(mine.grad, theirs.grad), name
    assert kept[1] < 0.8 * kept[0]


def test_relu6_at_its_corners() -> None:
    values = torch.tensor([-math.inf, -1.0, -0.0, 0.0, 1e-30, 3.0, 6.0, 6.5, math.inf, math.nan])
    results = []
    for layer in (nn.ReLU6(), LeanReLU6()):
        x = values.clone().requires_grad_()
        y = layer(x)
        y.backward(torch.arange(10.0))
        assert x.grad is not None
        results.append((y.detach(), x.grad))
    for mine, theirs in zip(*results, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0, equal_nan=True)


def test_relu_stays_in_place() -> None:
    layers = nn.Sequential(nn.ReLU(inplace=True), nn.SiLU(inplace=True), nn.Hardswish(inplace=True))
    write_anew(layers)
    assert [layer.inplace for layer in layers] == [True, False, False]
