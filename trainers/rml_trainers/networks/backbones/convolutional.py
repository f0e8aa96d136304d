"""Feature extractors from timm: one map at the wanted output stride, or several at several strides,
with the statistics that their weights expect."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from torch import nn

from rml_trainers.errors import ConfigError
from rml_trainers.networks.pretrained import weights as pretrained
from rml_trainers.networks.pretrained.hub import hub_access

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Backbone:
    """`module(images [B, 3, H, W])` gives a list of one map [B, feature_width, h, w], or of several
    from the finest to the coarsest, which is the last."""

    module: nn.Module
    feature_width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    widths: tuple[int, ...] = ()
    """Channels of every map, where there are several."""


class _Wanted(NamedTuple):
    """What a timm model is built for."""

    name: str
    output_stride: int | None
    """None: as the model has it by itself."""
    drop_path: float
    out_indices: tuple[int, ...] = (-1,)
    """Which of the model's maps are given, by timm's numbers."""


def build_backbone(
    name: str,
    *,
    output_stride: int,
    drop_path: float,
    weights: Literal["none", "timm", "file"],
    weights_file: str | None,
    low_level_stride: int | None = None,
) -> Backbone:
    """Build any timm model that offers `features_only` at this output stride, with its weights
    loaded.

    Input statistics: those the weights were trained with; ImageNet's for random weights.

    Args:
        low_level_stride: give the model's last map at this stride too, in front of the other.
    Raises:
        ConfigError: unknown name; a model without `features_only`, this output stride or stochastic
            depth; weights that are not there or do not fit.
    """
    check_name(name)
    wanted = _Wanted(name, output_stride, drop_path)
    if low_level_stride is not None:
        strides = (low_level_stride, output_stride)
        wanted = wanted._replace(out_indices=_places_of(strides, wanted))
    return _build(wanted, weights, weights_file)


def build_pyramid(
    name: str,
    *,
    strides: Sequence[int],
    drop_path: float,
    weights: Literal["none", "timm", "file"],
    weights_file: str | None,
) -> Backbone:
    """Build any timm model with `features_only` that has a map at each of these strides, finest
    first, with its weights loaded.

    Raises:
        ConfigError: as `build_backbone`; a model without a map at one of the strides.
    """
    check_name(name)
    wanted = _Wanted(name, None, drop_path)
    wanted = wanted._replace(out_indices=_places_of(strides, wanted))
    return _build(wanted, weights, weights_file)


def _build(
    wanted: _Wanted, weights: Literal["none", "timm", "file"], weights_file: str | None
) -> Backbone:
    module = _create(wanted)
    _check(module, wanted)
    if weights_file is not None:
        pretrained.load_file(module, wanted.name, weights_file)
    elif weights == "timm" and pretrained.has_package(wanted.name):
        pretrained.load_package(module, wanted.name)
    elif weights == "timm":
        with hub_access(wanted.name):
            module = _create(wanted, pretrained=True)
    info, cfg = _timm_facts(module)
    mean, std = (IMAGENET_MEAN, IMAGENET_STD) if weights == "none" else (cfg["mean"], cfg["std"])
    widths = tuple(info.channels())
    several = widths if len(widths) > 1 else ()
    return Backbone(module, widths[-1], tuple(mean), tuple(std), several)


def _places_of(strides: Sequence[int], wanted: _Wanted) -> tuple[int, ...]:
    """Number of the model's last map at each stride. Only its shape is built, without weights."""
    import timm

    with torch.device("meta"):
        try:
            whole = timm.create_model(wanted.name, features_only=True)
        except Exception as error:  # as in `_create`
            raise _refused(wanted, error) from error
    own = _timm_facts(whole)[0].reduction()
    last = len(own) - 1
    places = [
        max((n for n, one in enumerate(own) if one == stride), default=-1) for stride in strides
    ]
    if wanted.output_stride is not None:
        places[-1] = last  # dilated down to the output stride
    if -1 in places:
        raise ConfigError(
            f"network.backbone = {wanted.name!r}: its maps have strides {own}, and the network "
            f"needs {list(strides)}; choose another model"
        )
    return tuple(places)


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


def _last_place(strides: Sequence[int], wanted: int) -> int:
    """-1 where it is not among them."""
    return max((n for n, one in enumerate(strides) if one == wanted), default=-1)


def _create(wanted: _Wanted, *, pretrained: bool = False) -> nn.Module:
    import timm

    create = partial(
        timm.create_model,
        wanted.name,
        features_only=True,
        out_indices=wanted.out_indices,
        **({} if wanted.output_stride is None else {"output_stride": wanted.output_stride}),
    )
    drop_path = wanted.drop_path or None
    if pretrained:
        return create(drop_path_rate=drop_path, pretrained=True)  # type: ignore[no-any-return]
    try:
        return create(drop_path_rate=drop_path)  # type: ignore[no-any-return]
    except (
        Exception
    ) as error:  # models refuse arguments in many ways: TypeError, RuntimeError, AssertionError, …
        raise _refused(wanted, error) from error


def _refused(wanted: _Wanted, error: Exception) -> ConfigError:
    reason = str(error) or type(error).__name__
    if wanted.output_stride is None:
        return ConfigError(
            f"network.backbone = {wanted.name!r}: timm cannot build it as a feature extractor with "
            f"stochastic depth {wanted.drop_path} ({reason}); choose a hierarchical model such as "
            "'pvt_v2_b2' or 'convnext_tiny', or noise.drop_path = 0"
        )
    return ConfigError(
        f"network.backbone = {wanted.name!r}: timm cannot build it as a feature extractor with "
        f"output stride {wanted.output_stride} and stochastic depth {wanted.drop_path} ({reason}); "
        "choose a convolutional model such as 'resnet101' or 'tf_efficientnet_lite0', another "
        "network.output_stride, or noise.drop_path = 0"
    )


def _timm_facts(module: nn.Module) -> tuple[Any, Mapping[str, Any]]:
    """timm's feature information and the description of its weights, which its extractors carry."""
    info = module.feature_info
    cfg = module.pretrained_cfg
    assert isinstance(cfg, dict)
    return info, cfg


def _check(module: nn.Module, wanted: _Wanted) -> None:
    """Some models take an argument and do nothing with it."""
    from timm.layers import DropPath

    name, output_stride, drop_path, _ = wanted
    reduction = _timm_facts(module)[0].reduction()
    if output_stride is not None and reduction[-1] != output_stride:
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
