"""Blocks that are run again in the backward pass: which they are, what they save, and that copies
stay apart."""

import copy

import pytest
import torch
from torch import Tensor, nn

from rml_trainers.networks import NETWORKS, build_network
from rml_trainers.networks.accelerate.recomputed_blocks import blocks_of, recompute_blocks
from rml_trainers.networks.deeplab_v2 import DeepLabV2Config
from rml_trainers.networks.network import SegmentationNetwork
from rml_trainers.noise.config import NoiseConfig
from tests.support.tiny import NETWORK_CONFIGS

pytestmark = pytest.mark.usefixtures("single_thread")


def network_of(name: str) -> SegmentationNetwork:
    torch.manual_seed(0)
    return build_network(NETWORK_CONFIGS[name], 5, NoiseConfig())


def learn(network: SegmentationNetwork) -> tuple[Tensor, int]:
    """Loss after its backward pass, and how many elements the forward kept for it."""
    kept = 0

    def count(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.numel()
        return tensor

    torch.manual_seed(1)
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        output = network(torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(2)))
    loss = output.logits.square().mean()
    loss.backward()
    return loss.detach(), kept


@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_bits_with_less_in_memory(name: str) -> None:
    """Dropout, stochastic depth and BatchNorm as they train."""
    plain = network_of(name)
    recomputed = copy.deepcopy(plain)
    recompute_blocks(recomputed.backbone)
    (loss, kept) = learn(plain)
    (again, kept_again) = learn(recomputed)
    assert torch.equal(loss, again)
    assert kept_again < kept if blocks_of(plain.backbone) else kept_again == kept
    for (key, parameter), other in zip(
        plain.named_parameters(), recomputed.parameters(), strict=True
    ):
        assert parameter.grad is not None and other.grad is not None
        assert torch.equal(parameter.grad, other.grad), key
    state = recomputed.state_dict()
    assert list(state) == list(plain.state_dict())
    assert all(torch.equal(tensor, state[key]) for key, tensor in plain.state_dict().items())


def test_a_copy_runs_its_own_blocks_again() -> None:
    original = network_of("deeplab_v2")
    recompute_blocks(original.backbone)
    twin = copy.deepcopy(original)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    _, _ = learn(twin)
    assert not any(parameter.grad is not None for parameter in original.parameters())
    assert not twin(torch.rand(1, 3, 32, 48)).logits.any()


def test_without_gradient_nothing_is_run_again() -> None:
    network = network_of("deeplab_v2")
    runs: list[nn.Module] = []
    for block in blocks_of(network.backbone):
        next(block.children()).register_forward_pre_hook(lambda module, inputs: runs.append(module))
    recompute_blocks(network.backbone)
    with torch.no_grad():
        network(torch.rand(1, 3, 32, 48))
    assert len(runs) == len(blocks_of(network.backbone))
    learn(network)
    assert len(runs) == 3 * len(blocks_of(network.backbone)), (
        "once more forward, once more backward"
    )


@pytest.mark.parametrize(
    ("backbone", "num_blocks"), [("test_resnet", 4), ("test_efficientnet", 5), ("regnety_002", 5)]
)
def test_blocks_are_residual_ones_or_else_stages(backbone: str, num_blocks: int) -> None:
    network = build_network(
        DeepLabV2Config(backbone=backbone, weights="none"), 5, NoiseConfig(model=False)
    )
    assert len(blocks_of(network.backbone)) == num_blocks
