"""Feature extractors from timm: one map at the wanted output stride, with the statistics that its
weights expect."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from torch import nn

from rml_trainers.errors import ConfigError
from rml_trainers.networks.pretrained import weights as pretrained

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Backbone:
    """`module(images [B, 3, H, W])` gives a list of one map [B, feature_width, h, w]."""

    module: nn.Module
    feature_width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


def build_backbone(
    name: str,
    *,
    output_stride: int,
    drop_path: float,
    weights: Literal["none", "timm", "file"],
    weights_file: str | None,
) -> Backbone:
    """Build any timm model that offers `features_only` at this output stride, with its weights
    loaded.

    Input statistics: those the weights were trained with; ImageNet's for random weights.

    Raises:
        ConfigError: unknown name; a model without `features_only`, this output stride or stochastic
            depth; weights that are not there or do not fit.
    """
    check_name(name)
    module = _create(name, output_stride, drop_path)
    _check(module, name, output_stride, drop_path)
    if weights_file is not None:
        pretrained.load_file(module, name, weights_file)
    elif weights == "timm" and pretrained.has_package(name):
        pretrained.load_package(module, name)
    elif weights == "timm":
        with pretrained.hub_access(name):
            module = _create(name, output_stride, drop_path, pretrained=True)
    info, cfg = _timm_facts(module)
    mean, std = (IMAGENET_MEAN, IMAGENET_STD) if weights == "none" else (cfg["mean"], cfg["std"])
    return Backbone(module, info.channels()[-1], tuple(mean), tuple(std))


def check_name(name: str) -> None:
    """Raise a ConfigError that names the nearest models unless timm knows this one (a tag after a
    dot is allowed)."""
    # here, because it takes a second that a mere look at a configuration should not cost
    import timm

    if timm.is_model(name):
        return
    near = difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    raise ConfigError(
        f"network.backbone = {name!r}: timm has no such model; {hint}`timm.list_models()` names "
        "them all"
    )


def _create(
    name: str, output_stride: int, drop_path: float, *, pretrained: bool = False
) -> nn.Module:
    import timm

    create = partial(
        timm.create_model, name, features_only=True, out_indices=(-1,), output_stride=output_stride
    )
    if pretrained:
        return create(drop_path_rate=drop_path or None, pretrained=True)  # type: ignore[no-any-return]
    try:
        return create(drop_path_rate=drop_path or None)  # type: ignore[no-any-return]
    except (
        Exception
    ) as error:  # models refuse arguments in many ways: TypeError, RuntimeError, AssertionError, …
        reason = str(error) or type(error).__name__
        raise ConfigError(
            f"network.backbone = {name!r}: timm cannot build it as a feature extractor with output "
            "stride "
            f"{output_stride} and stochastic depth {drop_path} ({reason}); choose a convolutional "
            "model such as "
            "'resnet101' or 'tf_efficientnet_lite0', another network.output_stride, or "
            "noise.drop_path = 0"
        ) from error


def _timm_facts(module: nn.Module) -> tuple[Any, Mapping[str, Any]]:
    """timm's feature information and the description of its weights, which its extractors carry."""
    info = module.feature_info
    cfg = module.pretrained_cfg
    assert isinstance(cfg, dict)
    return info, cfg


def _check(module: nn.Module, name: str, output_stride: int, drop_path: float) -> None:
    """Some models take an argument and do nothing with it."""
    from timm.layers import DropPath

    reduction = _timm_facts(module)[0].reduction()
    if reduction[-1] != output_stride:
        raise ConfigError(
            f"network.output_stride = {output_stride}: {name!r} gives {reduction[-1]} instead; "
            f"choose another network.backbone"
        )
    rates = [layer.drop_prob for layer in module.modules() if isinstance(layer, DropPath)]
    if drop_path > 0 and not any(rates):
        raise ConfigError(
            f"noise.drop_path = {drop_path}: {name!r} has no stochastic depth; set noise.drop_path "
            "to 0 or choose "
            f"another network.backbone"
        )
