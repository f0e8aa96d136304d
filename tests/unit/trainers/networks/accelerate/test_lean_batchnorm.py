"""BatchNorm whose output is computed again: same gradients, fewer bytes kept, nothing kept for
longer than needed."""

import copy
import weakref
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn

from rml_trainers.config import NetworkConfig
from rml_trainers.networks import build_network
from rml_trainers.networks.accelerate import accelerate, lean_batchnorm
from rml_trainers.networks.accelerate.lean_batchnorm import keep_inputs_only, pairs
from rml_trainers.networks.accelerate.recomputed_maps import (
    Recipe,
    _Maps,
    maps_are_recomputed,
    recomputing_maps,
)
from rml_trainers.networks.deeplab_v2 import DeepLabV2Config
from rml_trainers.networks.network import BatchNormMode
from rml_trainers.networks.setr import SetrConfig
from rml_trainers.noise.config import NoiseConfig
from tests.support.tiny import NETWORK_CONFIGS

pytestmark = pytest.mark.usefixtures("single_thread")
BACKBONES = (
    "tf_efficientnet_lite0",
    "efficientnet_b0",
    "mobilenetv3_small_100",
    "resnet18",
    "resnet50",
    "test_resnet",
)
CASES: dict[str, NetworkConfig] = {
    **{backbone: DeepLabV2Config(backbone=backbone, weights="none") for backbone in BACKBONES},
    **NETWORK_CONFIGS,
    "setr": SetrConfig(backbone="test_vit", weights="none", decoder="pup", decoder_width=8),
}
"""ReLU6, SiLU and Hardswish with squeeze-and-excitation, ReLU in both kinds of residual blocks; and
every network."""


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[Tensor | Recipe]:
    """What is kept for the backward pass under `recomputing_maps`."""
    seen: list[Tensor | Recipe] = []

    def noted(maps: _Maps, tensor: Tensor, keep: object = _Maps.keep) -> Tensor | Recipe:
        assert callable(keep)
        seen.append(keep(maps, tensor))
        return seen[-1]

    monkeypatch.setattr(_Maps, "keep", noted)
    return seen


def kept_bytes(kept: list[Tensor | Recipe], network: nn.Module) -> int:
    """Of what is kept beside weights and statistics."""
    own = {tensor.untyped_storage().data_ptr() for tensor in network.state_dict().values()}
    storages = {
        t.untyped_storage().data_ptr(): t.untyped_storage().nbytes()
        for t in kept
        if isinstance(t, Tensor)
    }
    return sum(size for address, size in storages.items() if address not in own)


def network_of(config: NetworkConfig) -> nn.Module:
    """With statistics and branches that are not those of a beginning."""
    torch.manual_seed(0)
    network = build_network(config, 5, NoiseConfig()).to(memory_format=torch.channels_last)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean = torch.randn(layer.num_features)
            layer.running_var = torch.rand(layer.num_features) + 0.5
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias)
    accelerate(network, torch.device("cpu"), recompute="none")
    return network.train()


def learn(network: nn.Module, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Logits, gradients and statistics after one backward pass under `recomputing_maps`."""
    images = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(2))
    torch.manual_seed(1)
    with (
        torch.autocast("cpu", dtype) if dtype != torch.float32 else nullcontext(),
        recomputing_maps(),
    ):
        logits: Tensor = network(images.contiguous(memory_format=torch.channels_last)).logits
    logits.float().square().mean().backward()  # type: ignore[no-untyped-call]
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    return [logits.detach(), *gradients, *network.buffers()]


@pytest.mark.parametrize("mode", ["trainable", "frozen_affine", "frozen"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", CASES)
def test_the_same_step(name: str, dtype: torch.dtype, mode: BatchNormMode) -> None:
    config = CASES[name]
    has_mode = hasattr(config, "batchnorm")
    plain = network_of(replace(config, batchnorm=mode) if has_mode else config)
    changed = copy.deepcopy(plain)
    keep_inputs_only(changed)
    wanted = learn(plain, dtype)
    found = learn(changed, dtype)
    assert len(found) == len(wanted)
    for one, other in zip(wanted, found, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-6)
    assert list(changed.state_dict()) == list(plain.state_dict())


@pytest.mark.parametrize(
    ("name", "share"), [("tf_efficientnet_lite0", 0.6), ("resnet50", 0.9), ("setr", 0.95)]
)
def test_how_many_bytes_are_left(name: str, share: float, kept: list[Tensor | Recipe]) -> None:
    plain = network_of(CASES[name])
    changed = copy.deepcopy(plain)
    keep_inputs_only(changed)
    learn(plain)
    before = kept_bytes(kept, plain)
    kept.clear()
    learn(changed)
    assert kept_bytes(kept, changed) < share * before


class Branching(nn.Module):
    """What comes from BatchNorm and ReLU has two readers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.left = nn.Conv2d(4, 2, 1)
        self.right = nn.Conv2d(4, 2, 3)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.stem(images)
        result: Tensor = self.left(maps).mean() + self.right(maps).square().mean()
        return result


@pytest.fixture
def branching() -> nn.Module:
    torch.manual_seed(0)
    network = Branching()
    keep_inputs_only(network)
    return network


@pytest.fixture
def computed_again(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Tensor]]:
    """Outputs that were computed again."""
    outputs: list[Tensor] = []
    original = lean_batchnorm._output

    def noted(*told_by: object) -> tuple[Tensor, Tensor]:
        result = original(*told_by)  # type: ignore[arg-type]
        outputs.append(result[0])
        return result

    monkeypatch.setattr(lean_batchnorm, "_output", noted)
    yield outputs


def test_computed_once_for_all_who_ask(branching: nn.Module, computed_again: list[Tensor]) -> None:
    with recomputing_maps():
        loss = branching(torch.randn(2, 3, 8, 8))
    assert computed_again == []
    loss.backward(retain_graph=True)
    assert len(computed_again) == 1
    first = [parameter.grad for parameter in branching.parameters() if parameter.grad is not None]
    branching.zero_grad()
    loss.backward()
    assert len(computed_again) == 2, "the graph can be used again"
    for one, parameter in zip(first, branching.parameters(), strict=True):
        assert parameter.grad is not None and torch.equal(one, parameter.grad)


def test_nothing_outlives_the_backward_pass(branching: nn.Module) -> None:
    seen: list[weakref.ref[Tensor]] = []
    stem = branching.get_submodule("stem")
    assert isinstance(stem, nn.Sequential)
    stem[0].register_forward_hook(
        lambda layer, inputs, output: seen.append(weakref.ref(output.untyped_storage()))
    )
    with recomputing_maps():
        loss = branching(torch.randn(2, 3, 8, 8))
    assert seen[0]() is not None
    loss.backward()
    assert seen[0]() is None, (
        "the input of BatchNorm is still there, although the loss is all that is held"
    )


def test_what_is_changed_afterwards_is_kept() -> None:
    """As the sum of a residual block may be written over one of its terms."""
    torch.manual_seed(0)
    first = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU())
    last = nn.Conv2d(4, 2, 1)
    twin = copy.deepcopy(first)
    keep_inputs_only(first)
    images = torch.randn(2, 3, 8, 8)
    gradients = []
    for network in (first, twin):
        last.zero_grad()
        with recomputing_maps():
            maps = network(images)
            maps *= torch.linspace(1, 2, 8)
            loss = last(maps).square().mean()
        loss.backward()
        assert last.weight.grad is not None
        gradients.append(last.weight.grad.clone())
    torch.testing.assert_close(*gradients)


def test_only_the_very_map_is_known() -> None:
    maps = _Maps()
    recipe = Recipe(lambda: torch.zeros(6, 4))
    made = torch.randn(6, 4)
    maps.add(made, recipe)
    assert maps.keep(made) is recipe and maps.keep(made.detach()) is recipe
    for view in (made[:2], made.t(), made[1:]):
        assert maps.keep(view) is view
    del made, view
    for _ in range(50):
        another = torch.randn(6, 4)
        assert maps.keep(another) is another, "at the address of a map that is gone"


def test_without_the_context_or_a_gradient_layers_are_as_they_were(
    branching: nn.Module, kept: list[Tensor | Recipe]
) -> None:
    images = torch.randn(2, 3, 8, 8)
    plain = branching(images)
    with recomputing_maps(), torch.no_grad():
        assert not maps_are_recomputed()
        assert torch.equal(branching(images), plain)
    assert kept == []
    assert not maps_are_recomputed()


def test_a_single_value_has_no_variance(branching: nn.Module) -> None:
    stem = branching.get_submodule("stem")
    with (
        recomputing_maps(),
        pytest.raises(ValueError, match="Expected more than 1 value per channel"),
    ):
        stem(torch.randn(1, 3, 1, 1))
    stem.eval()
    image = torch.randn(1, 3, 1, 1)
    plain = stem(image)
    with recomputing_maps():
        torch.testing.assert_close(stem(image), plain)


def test_which_layers() -> None:
    assert len(list(pairs(network_of(CASES["resnet18"])))) == 9, (
        "the stem, and the first of two in eight blocks"
    )
    assert len(list(pairs(network_of(CASES["resnet50"])))) == 33, (
        "the stem, and two of three in sixteen blocks"
    )
    layers = nn.Sequential(
        nn.SyncBatchNorm(4),
        nn.ReLU(),
        nn.BatchNorm2d(4, affine=False),
        nn.ReLU(),
        nn.BatchNorm2d(4, momentum=None),
        nn.ReLU(),
        nn.BatchNorm2d(4),
        nn.Tanh(),
        BatchNormAct2d(4, act_layer=nn.ReLU, drop_layer=nn.Dropout),
    )
    keep_inputs_only(layers)
    assert not any("forward" in vars(layer) for layer in layers.modules())
