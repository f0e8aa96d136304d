"""Vision transformers from timm as feature extractors: one map of patches, from images of any size.

Position embeddings are resampled to every image's grid (bicubic, as timm has it); rotary ones are
computed for it. An image that the patch does not divide is padded with the mean colour at its
bottom and right, never cropped.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rml_trainers.errors import ConfigError
from rml_trainers.networks.backbones.convolutional import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Backbone,
    check_name,
)
from rml_trainers.networks.pretrained import weights as pretrained
from rml_trainers.networks.pretrained.hub import hub_access

EXAMPLES = "'vit_large_patch16_384', 'vit_base_patch14_dinov2' or 'vit_base_patch16_dinov3'"


class PatchMap(nn.Module):
    """A transformer without its classifier: images [B, 3, H, W] → list of one map [B, D, ⌈H/patch⌉,
    ⌈W/patch⌉], or of one per block asked for.

    Class and register tokens take part inside and are left out of the map. The model's last
    normalisation is applied to every map where it works on tokens (models that average first
    normalise afterwards; they have none here).

    Args:
        blocks: numbers of the blocks whose output is given, from 0; default: the last one.
    """

    def __init__(self, model: nn.Module, blocks: Sequence[int] | None = None) -> None:
        super().__init__()
        self.model = model
        self._indices: int | list[int] = 1 if blocks is None else list(blocks)
        rotary = getattr(model, "rope", None)
        if isinstance(rotary, nn.Module) and not list(rotary.parameters()):
            self.model.rope = RotaryCache(rotary)

    def forward(self, images: Tensor) -> list[Tensor]:
        maps = self.model.forward_intermediates(
            images, indices=self._indices, norm=True, intermediates_only=True
        )  # type: ignore[operator]
        return list(maps)


class RotaryCache(nn.Module):
    """Fixed rotary embeddings, kept by grid size and device.

    timm builds those of a model for images of any size on the host, at every forward; the copy to a
    GPU would wait for all work that is queued there.
    """

    def __init__(self, rotary: nn.Module) -> None:
        super().__init__()
        self.rotary = rotary
        self._kept: dict[tuple[int, int, str], Tensor] = {}

    def get_embed(self, shape: tuple[int, int]) -> Tensor:
        """Sine and cosine of every cell of a grid (height, width): [height · width, 2 · width of a
        head]."""
        if self.training and getattr(self.rotary, "aug_active", False):
            return self._embed(shape)  # drawn anew at every forward
        key = (shape[0], shape[1], str(next(self.rotary.buffers()).device))
        if key not in self._kept:
            self._kept[key] = self._embed(shape)
        return self._kept[key]

    def _embed(self, shape: tuple[int, int]) -> Tensor:
        embedding = self.rotary.get_embed(shape=shape)  # type: ignore[operator]
        assert isinstance(embedding, Tensor)
        return embedding


def build_vit(
    name: str,
    *,
    drop_path: float,
    weights: Literal["none", "timm", "file"],
    weights_file: str | None,
    blocks: Callable[[int], Sequence[int]] | None = None,
) -> tuple[Backbone, int]:
    """Build any plain vision transformer of timm, with its weights loaded; also gives the side of a
    patch in pixels.

    Input statistics: those the weights were trained with; ImageNet's for random weights.

    Args:
        blocks: from the number of blocks to the numbers of those whose maps are given, the last
            block's last; default: that one alone.
    Raises:
        ConfigError: unknown name; a model that is no vision transformer for images of any size, or
            has no stochastic depth; weights that are not there or do not fit.
    """
    check_name(name)
    model: Any = _create(name, drop_path)
    _check(model, name, drop_path)
    if weights == "timm":
        with hub_access(name):
            model = _create(name, drop_path, pretrained=True)
    cfg = model.pretrained_cfg
    assert isinstance(cfg, dict)
    # Whatever only a classifier reads would never get a gradient.
    model.prune_intermediate_layers(1, prune_norm=False, prune_head=True)
    if weights == "file" and weights_file is not None:
        load_vit_file(model, name, weights_file)
    mean, std = (IMAGENET_MEAN, IMAGENET_STD) if weights == "none" else (cfg["mean"], cfg["std"])
    chosen = None if blocks is None else blocks(len(model.blocks))
    widths = () if chosen is None else (model.embed_dim,) * len(chosen)
    return Backbone(
        PatchMap(model, chosen), model.embed_dim, tuple(mean), tuple(std), widths
    ), model.patch_embed.patch_size[0]


def _create(name: str, drop_path: float, *, pretrained: bool = False) -> nn.Module:
    import timm

    sizes = {"dynamic_img_size": True, "dynamic_img_pad": True}
    create = partial(timm.create_model, name, drop_path_rate=drop_path or None, **sizes)
    if pretrained:
        return create(pretrained=True)  # type: ignore[no-any-return]
    try:
        return create()  # type: ignore[no-any-return]
    except (
        Exception
    ) as error:  # models refuse arguments in many ways: TypeError, RuntimeError, AssertionError, …
        reason = str(error) or type(error).__name__
        raise _unsuitable(
            name, f"timm cannot build it for images of any size ({reason})"
        ) from error


def _check(model: nn.Module, name: str, drop_path: float) -> None:
    from timm.layers import DropPath, PatchEmbed

    patches = getattr(model, "patch_embed", None)
    if not isinstance(patches, PatchEmbed) or len(set(patches.patch_size)) > 1:
        raise _unsuitable(
            name, "it does not cut the image into square patches with one convolution"
        )
    if not hasattr(model, "forward_intermediates") or not hasattr(
        model, "prune_intermediate_layers"
    ):
        raise _unsuitable(name, "it does not give the map of its patches")
    rates = [layer.drop_prob for layer in model.modules() if isinstance(layer, DropPath)]
    if drop_path > 0 and not any(rates):
        raise ConfigError(
            f"noise.drop_path = {drop_path}: {name!r} has no stochastic depth; set noise.drop_path "
            "to 0"
        )


def _unsuitable(name: str, why: str) -> ConfigError:
    return ConfigError(
        f"network.backbone = {name!r}: {why}; the network takes plain vision transformers such as "
        f"{EXAMPLES}"
    )


def load_vit_file(model: nn.Module, name: str, file: str) -> None:
    """Fill a transformer from a file with timm's keys or its authors' own (DINOv2, DINOv3, …),
    strictly.

    A position embedding of another square grid is resampled to the model's; so is a patch kernel of
    another size.

    Raises:
        ConfigError: the file is not there, or does not fit.
    """
    path = Path(file).expanduser()
    state = pretrained.read_state(path)
    try:
        with torch.no_grad():
            converted = _converter(model)(state, model)
    except (KeyError, RuntimeError, ValueError, AttributeError, AssertionError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ConfigError(
            f"network.weights_file = {str(path)!r}: does not fit timm's {name!r}: its tensors "
            "cannot be brought into "
            f"the model's shape ({reason})"
        ) from error
    pretrained.load_strictly(model, name, converted, path)


def _converter(model: nn.Module) -> Callable[[Mapping[str, Tensor], nn.Module], Any]:
    """timm's own translation of other people's files for this kind of transformer. timm does not
    document it: one without it loads files with its own names and sizes only."""
    from timm.models import eva, vision_transformer

    module = eva if isinstance(model, eva.Eva) else vision_transformer
    return getattr(module, "checkpoint_filter_fn", lambda state, _: state)
