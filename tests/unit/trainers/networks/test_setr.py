"""SETR: any plain vision transformer, images of any size, two decoders, its own kinds of weight
files."""

import copy
from dataclasses import replace
from typing import Literal

import pytest
import timm
import torch
from torch import Tensor

from rml_trainers.errors import ConfigError
from rml_trainers.networks.backbones.vit import RotaryCache, build_vit
from rml_trainers.networks.layers import without_padding
from rml_trainers.networks.setr import SETR, SetrConfig, build_setr
from rml_trainers.noise.config import NoiseConfig

CONFIG = SetrConfig(backbone="test_vit", weights="none", decoder="naive", decoder_width=16)
SILENT = NoiseConfig(model=False)
K = 5
BACKBONES = {
    "test_vit": 16,  # class token
    "test_vit2": 16,  # register tokens, averaged before its last normalisation
    "test_vit3": 16,  # attention pooling
    "vit_small_patch14_dinov2": 14,
    "vit_small_patch14_reg4_dinov2": 14,
    "vit_small_patch16_dinov3": 16,  # rotary embeddings
    "eva02_tiny_patch14_224": 14,  # rotary and absolute ones
    "deit_tiny_distilled_patch16_224": 16,  # two tokens of its own
    "vit_large_patch16_384": 16,
}
pytestmark = pytest.mark.usefixtures("single_thread")


@pytest.fixture
def shallow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two blocks and narrow tokens instead of the real depth and width: the kind of model is what
    is tested."""
    create = timm.create_model

    def small(name: str, **settings: object) -> torch.nn.Module:
        narrow = {} if name.startswith("test_") else {"embed_dim": 48, "num_heads": 3}
        return create(name, depth=2, **narrow, **settings)  # type: ignore[no-any-return]

    monkeypatch.setattr("timm.create_model", small)


def build(config: SetrConfig = CONFIG, noise: NoiseConfig = SILENT) -> SETR:
    torch.manual_seed(0)
    return build_setr(config, K, noise)


def images(size_px: tuple[int, int] = (48, 64), num_images: int = 2) -> Tensor:
    return torch.rand(num_images, 3, *size_px, generator=torch.Generator().manual_seed(0))


@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize("decoder", ["naive", "pup"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_any_plain_transformer_and_any_size(
    backbone: str, decoder: Literal["naive", "pup"]
) -> None:
    network = build(replace(CONFIG, backbone=backbone, decoder=decoder))
    patch = BACKBONES[backbone]
    cells_per_patch = {"naive": 1, "pup": 8}[decoder]
    for size_px in ((48, 64), (33, 45)):
        logits, feature, *_ = network(images(size_px))
        cells = tuple(-(-pixels // patch) * cells_per_patch for pixels in size_px)
        assert logits.shape == (2, K, *cells)
        assert feature.shape == (2, 16, *cells)
    logits.square().sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize(
    "backbone", ["test_vit", "vit_small_patch14_dinov2", "vit_small_patch16_dinov3"]
)
def test_no_pixel_is_cropped_away(backbone: str) -> None:
    network = build(replace(CONFIG, backbone=backbone)).eval()
    pixels = images((33, 45), num_images=1).requires_grad_()
    network(pixels).logits.square().sum().backward()
    assert pixels.grad is not None
    assert pixels.grad.abs().sum(dim=1).gt(0).all()


def test_maps_of_a_padded_image_are_moved_onto_the_image() -> None:
    """A ramp over the padded image, sampled at cell centres, becomes the same ramp sampled at the
    new cell centres."""
    padded = (64, 96)
    image = (50, 83)
    cells = (4, 6)

    def centres(size_px: tuple[int, int]) -> tuple[Tensor, Tensor]:
        rows, columns = (
            (torch.arange(n) + 0.5) * size / n for n, size in zip(cells, size_px, strict=True)
        )
        return rows.view(-1, 1).expand(cells), columns.expand(cells)

    moved = without_padding(torch.stack(centres(padded))[None], padded, image)[0]
    assert moved.shape == (2, *cells)
    inner = (
        slice(None),
        slice(1, None),
        slice(1, None),
    )  # the outermost ones lie outside of the ramp's own centres
    torch.testing.assert_close(moved[inner], torch.stack(centres(image))[inner])
    maps = torch.rand(1, 3, *cells)
    assert without_padding(maps, padded, padded) is maps


def test_where_nothing_is_padded_a_neighbouring_size_gives_neighbouring_logits() -> None:
    """The same picture, one pixel narrower: logits at equal pixels stay close although the last
    patch is padded."""
    network = build().eval()
    ramp = torch.linspace(0, 1, 64).view(1, 1, 1, -1).expand(1, 3, 48, -1)
    whole = network.upsample(network(ramp).logits, (48, 64))
    narrower = network.upsample(network(ramp[..., :63]).logits, (48, 63))
    spread = whole.std()
    assert (whole[..., :63] - narrower).abs().mean() < 0.2 * spread


def test_dropout_stands_in_front_of_the_last_classifier_only() -> None:
    network = build(replace(CONFIG, batchnorm="frozen"), NoiseConfig(dropout=0.5, drop_path=0.0))
    first = network(images())
    second = network(images())
    assert torch.equal(first.feature, second.feature)
    assert not torch.equal(first.logits, second.logits)


def test_stochastic_depth_grows_over_the_blocks() -> None:
    from timm.layers import DropPath

    network = build(CONFIG, NoiseConfig(dropout=0.0, drop_path=0.2))
    rates = [layer.drop_prob for layer in network.modules() if isinstance(layer, DropPath)]
    assert rates == sorted(rates) and rates[-1] == pytest.approx(0.2)
    assert not torch.equal(network(images()).feature, network(images()).feature)
    silent = [layer for layer in build().modules() if isinstance(layer, DropPath)]
    assert not silent


@pytest.mark.parametrize(
    ("batchnorm", "moves"), [("trainable", True), ("frozen_affine", True), ("frozen", False)]
)
def test_batchnorm_modes_are_those_of_deeplab(
    batchnorm: Literal["trainable", "frozen_affine", "frozen"], moves: bool
) -> None:
    network = build(replace(CONFIG, batchnorm=batchnorm)).eval().train()
    before = copy.deepcopy(network.state_dict())
    network(images())
    moved = [
        key for key, tensor in network.state_dict().items() if not torch.equal(before[key], tensor)
    ]
    assert bool(moved) is moves
    affine = [
        p for key, p in network.named_parameters() if key.startswith("decoder.convolution.1.")
    ]
    assert len(affine) == 2 and all(p.requires_grad is (batchnorm == "trainable") for p in affine)


@pytest.mark.usefixtures("shallow")
def test_rotary_embeddings_are_made_once_per_size() -> None:
    network = build(replace(CONFIG, backbone="vit_small_patch16_dinov3")).eval()
    (cache,) = (module for module in network.modules() if isinstance(module, RotaryCache))
    calls: list[tuple[int, int]] = []
    embed = cache.rotary.get_embed

    def counted(shape: tuple[int, int]) -> Tensor:
        calls.append(shape)
        return embed(shape=shape)  # type: ignore[operator, no-any-return]

    cache.rotary.get_embed = counted  # type: ignore[assignment]
    first = network(images()).logits
    assert torch.equal(network(images()).logits, first)
    network(images((32, 32)))
    assert calls == [(3, 4), (2, 2)]
    assert torch.equal(cache.get_embed((3, 4)), embed(shape=(3, 4)))  # type: ignore[operator]
    assert not any("rope" in key for key in network.state_dict())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"backbone": "vit_larg_patch16_384"}, ("no such model", "'vit_large_patch16_384'")),
        (
            {"backbone": "test_resnet"},
            ("'test_resnet'", "images of any size", "vit_large_patch16_384"),
        ),
        ({"backbone": "swin_tiny_patch4_window7_224"}, ("swin_tiny", "plain vision transformers")),
        ({"backbone": "vit_tiny_r_s16_p8_224"}, ("vit_tiny_r_s16", "with one convolution")),
    ],
)
def test_a_model_that_cannot_serve_is_refused_with_a_way_out(
    settings: dict[str, str], words: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigError) as refusal:
        build(replace(CONFIG, **settings))  # type: ignore[arg-type]
    assert all(word in str(refusal.value) for word in words), refusal.value


def test_a_configuration_that_contradicts_itself_is_refused() -> None:
    for settings in ({"weights": "file"}, {"weights_file": "x.pth"}, {"decoder_width": 0}):
        with pytest.raises(ValueError, match=next(iter(settings)).removesuffix("_file")):
            replace(CONFIG, **settings)


def test_weights_of_the_hub_keep_their_own_input_statistics(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[bool] = []
    create = timm.create_model

    def offline(name: str, *, pretrained: bool = False, **settings: object) -> torch.nn.Module:
        asked.append(pretrained)
        return create(name, **settings)  # type: ignore[no-any-return]

    monkeypatch.setattr("timm.create_model", offline)
    backbone, patch_px = build_vit("test_vit", drop_path=0.0, weights="timm", weights_file=None)
    assert (asked, patch_px) == ([False, True], 16)
    assert backbone.mean == backbone.std == (0.5, 0.5, 0.5)
    assert (
        build_vit("test_vit", drop_path=0.0, weights="none", weights_file=None)[0].mean
        != backbone.mean
    )
