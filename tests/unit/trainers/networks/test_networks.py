"""What every network promises, whatever is inside; a new one is tested on arrival."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from rml_trainers.networks import NETWORKS, build_network
from rml_trainers.networks.batchnorm import batchnorm_layers
from rml_trainers.networks.network import SegmentationNetwork
from rml_trainers.noise.config import NoiseConfig
from tests.support.tiny import NETWORK_CONFIGS

SILENT = NoiseConfig(model=False)
K = 5
SIZE_PX = (32, 48)
pytestmark = pytest.mark.usefixtures("single_thread")


def build(name: str, noise: NoiseConfig = SILENT, seed: int = 0) -> SegmentationNetwork:
    torch.manual_seed(seed)
    network = build_network(NETWORK_CONFIGS[name], K, noise)
    for layer in batchnorm_layers(network):
        nn.init.ones_(layer.weight)  # timm starts some residual branches at zero
    return network


def images(num_images: int = 2, size_px: tuple[int, int] = SIZE_PX) -> Tensor:
    return torch.rand(num_images, 3, *size_px, generator=torch.Generator().manual_seed(0))


def test_the_tests_know_every_network() -> None:
    assert set(NETWORK_CONFIGS) == set(NETWORKS)
    assert all(isinstance(NETWORK_CONFIGS[name], entry.config) for name, entry in NETWORKS.items())


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_and_feature_share_their_cells_and_upsample_to_any_size(name: str) -> None:
    network = build(name)
    output = network(images())
    assert output.logits.shape[:2] == (2, K)
    assert output.feature.shape == (2, network.feature_width, *output.logits.shape[-2:])
    assert (output.projected is None) == (network.projection_width is None)
    assert network.upsample(output.logits, (33, 50)).shape == (2, K, 33, 50)


@pytest.mark.parametrize("name", NETWORKS)
def test_an_image_of_the_zero_colour_is_zero_to_the_network(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Padding of this colour is what others call padding with zeros."""
    network = build(name)
    seen = list[Tensor]()
    normalise = network.normalise

    def spy(pixels: Tensor) -> Tensor:
        seen.append(normalise(pixels))
        return seen[-1]

    monkeypatch.setattr(network, "normalise", spy)
    network.eval()(network.zero_colour.expand(1, 3, *SIZE_PX))
    (normalised,) = seen
    torch.testing.assert_close(normalised, torch.zeros_like(normalised), atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_trainable_parameter_is_in_one_group_and_gets_a_gradient(name: str) -> None:
    network = build(name)
    network(images()).logits.square().sum().backward()
    groups = [list(network.backbone_parameters()), list(network.head_parameters())]
    grouped = [*groups[0], *groups[1]]
    assert groups[1], "a head to learn at its own rate"
    assert len(grouped) == len(set(map(id, grouped)))
    assert {id(p) for p in grouped} == {id(p) for p in network.parameters() if p.requires_grad}
    without = [key for key, p in network.named_parameters() if p.requires_grad and p.grad is None]
    assert not without, "DistributedDataParallel waits for every gradient"


@pytest.mark.parametrize("name", NETWORKS)
def test_model_noise_is_live_in_training_only_and_can_be_switched_off(name: str) -> None:
    def differs(network: SegmentationNetwork) -> bool:
        return not torch.equal(network(images()).logits, network(images()).logits)

    noisy = build(name, NoiseConfig(dropout=0.5, drop_path=0.5))
    assert differs(noisy)
    assert not differs(noisy.eval())
    assert not differs(build(name, SILENT).eval().train())


@pytest.mark.parametrize("name", NETWORKS)
def test_copied_saved_and_loaded_it_is_the_same_network(name: str) -> None:
    network = build(name)
    other = build_network(NETWORK_CONFIGS[name], K, SILENT, pretrained=False)
    assert not torch.equal(network.eval()(images()).logits, other.eval()(images()).logits)
    other.load_state_dict(copy.deepcopy(network).state_dict())
    assert torch.equal(network(images()).logits, other(images()).logits)
    assert {"mean", "std"} <= network.state_dict().keys()


@pytest.mark.parametrize("name", NETWORKS)
def test_the_seed_decides_what_is_new(name: str) -> None:
    first, same, other = (
        next(iter(build(name, seed=seed).head_parameters())) for seed in (0, 0, 1)
    )
    assert torch.equal(first, same) and not torch.equal(first, other)


@pytest.mark.parametrize("name", NETWORKS)
def test_bfloat16_autocast_trains_in_channels_last(name: str) -> None:
    network = build(name).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = network(images().contiguous(memory_format=torch.channels_last))
        upsampled = network.upsample(output.logits, SIZE_PX)
    assert upsampled.dtype == torch.float32
    upsampled.square().mean().backward()  # type: ignore[no-untyped-call]
    assert all(
        p.grad is not None and p.grad.isfinite().all()
        for p in network.parameters()
        if p.requires_grad
    )


@pytest.mark.parametrize(
    "name", [name for name, entry in NETWORKS.items() if hasattr(entry.config, "weights")]
)
def test_weights_are_not_opened_where_a_checkpoint_will_fill_the_network(name: str) -> None:
    elsewhere = replace(NETWORK_CONFIGS[name], weights="file", weights_file="nowhere.safetensors")
    build_network(elsewhere, K, SILENT, pretrained=False)
    with pytest.raises(Exception, match=r"nowhere\.safetensors.*no such file"):
        build_network(elsewhere, K, SILENT)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_head_alone_gives_what_the_network_gives(name: str) -> None:
    network = build(name).eval()
    whole = network(images())
    head = network.classify(whole.feature)
    assert torch.equal(head.logits, whole.logits) and torch.equal(head.feature, whole.feature)
    assert not torch.equal(network.classify(whole.feature * 0.5).logits, whole.logits)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_whole_head_begins_with_maps_that_can_be_perturbed(name: str) -> None:
    """On a size that patches of 16 do not divide, where the network takes others."""
    network = build(name)
    size_px = network.input_px or (40, 50)
    network.eval()
    whole = network(images(size_px=size_px))
    again = network.decode(whole.head_input, size_px)
    assert torch.equal(again.logits, whole.logits) and torch.equal(again.feature, whole.feature)
    for place, maps in enumerate(whole.head_input):
        changed = [m * 0.5 if m is maps else m for m in whole.head_input]
        assert not torch.equal(network.decode(changed, size_px).logits, whole.logits), place
    with torch.no_grad():
        assert network(images(size_px=size_px)).encoded == ()
