"""Backbones: many timm models at both output strides, and clear refusals of those that cannot do
it."""

import pytest
import torch
from timm.layers import DropPath

from rml_trainers.errors import ConfigError
from rml_trainers.networks.backbones.convolutional import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Backbone,
    build_backbone,
)

MODELS = {
    "resnet10t": 512,
    "resnet18": 512,
    "tf_efficientnet_lite0": 320,
    "mobilenetv3_small_050": 288,
    "convnext_atto": 320,
    "regnety_002": 368,
    "test_resnet": 96,
    "test_efficientnet": 64,
}


def _build(name: str, output_stride: int = 8, drop_path: float = 0.0) -> Backbone:
    return build_backbone(
        name, output_stride=output_stride, drop_path=drop_path, weights="none", weights_file=None
    )


@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize("name", MODELS)
def test_a_backbone_gives_one_map_at_the_output_stride(name: str, output_stride: int) -> None:
    backbone = _build(name, output_stride)
    with torch.no_grad():
        maps = backbone.module.eval()(torch.rand(1, 3, 32, 48))
    assert backbone.feature_width == MODELS[name]
    assert [tuple(each.shape) for each in maps] == [
        (1, MODELS[name], 32 // output_stride, 48 // output_stride)
    ]


def test_sizes_that_the_stride_does_not_divide_are_rounded_up() -> None:
    (maps,) = _build("test_resnet").module(torch.rand(2, 3, 33, 41))
    assert maps.shape[2:] == (5, 6)


@pytest.mark.parametrize(
    "name", ["resnet18", "tf_efficientnet_lite0", "mobilenetv3_small_050", "convnext_atto"]
)
def test_stochastic_depth_grows_with_depth_and_is_live_in_training_only(name: str) -> None:
    backbone = _build(name, drop_path=0.2)
    layers = [layer for layer in backbone.module.modules() if isinstance(layer, DropPath)]
    rates = [layer.drop_prob for layer in layers]
    assert rates == sorted(rates) and 0.15 < rates[-1] <= 0.2001
    torch.manual_seed(0)
    for module in backbone.module.modules():
        if isinstance(module, DropPath):
            module.drop_prob = 0.5  # two equal draws in a row become unlikely
        elif isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.ones_(module.weight)  # timm starts some residual branches at zero
            module.momentum = 0.0
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        for training in (True, False):
            backbone.module.train(training)
            first = backbone.module(images)[0]
            second = backbone.module(images)[0]
            assert torch.equal(first, second) is not training


def test_random_weights_take_imagenet_statistics() -> None:
    backbone = _build("tf_efficientnet_lite0")
    assert (backbone.mean, backbone.std) == (IMAGENET_MEAN, IMAGENET_STD)


@pytest.mark.parametrize(
    ("name", "output_stride", "drop_path", "words"),
    [
        ("resnet110", 8, 0.0, ("network.backbone = 'resnet110'", "no such model", "'resnet101'")),
        ("zzzz", 8, 0.0, ("network.backbone = 'zzzz'", "timm.list_models()")),
        ("vit_tiny_patch16_224", 8, 0.0, ("vit_tiny_patch16_224", "output stride 8", "resnet101")),
        ("densenet121", 16, 0.0, ("densenet121", "output stride 16")),
        ("vgg11", 8, 0.2, ("vgg11", "drop_path")),
        ("vgg11", 8, 0.0, ("vgg11", "AssertionError")),
    ],
)
def test_a_model_that_cannot_serve_is_refused_with_a_way_out(
    name: str, output_stride: int, drop_path: float, words: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigError) as refusal:
        _build(name, output_stride, drop_path)
    assert all(word in str(refusal.value) for word in words), refusal.value


def test_a_model_that_ignores_stochastic_depth_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = _build("test_resnet")
    monkeypatch.setattr("timm.create_model", lambda *_, **__: backbone.module)
    with pytest.raises(ConfigError, match="has no stochastic depth; set"):
        _build("test_resnet", drop_path=0.2)
    with pytest.raises(ConfigError, match="output_stride = 16: 'test_resnet' gives 8 instead"):
        _build("test_resnet", output_stride=16)
