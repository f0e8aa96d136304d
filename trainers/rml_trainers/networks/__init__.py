"""Networks by name. A new one is a file with its configuration and its class, and one line here."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from rml_trainers.configuration import suggest
from rml_trainers.errors import ConfigError
from rml_trainers.networks.deeplab_v2 import DeepLabV2Config, build_deeplab_v2
from rml_trainers.networks.mlp import MlpConfig, build_mlp
from rml_trainers.networks.network import SegmentationNetwork
from rml_trainers.noise.config import NoiseConfig

C = TypeVar("C")


@dataclass(frozen=True)
class NetworkEntry:
    """What a configuration's `name` stands for."""

    config: type[Any]
    build: Callable[[Any, int, NoiseConfig], SegmentationNetwork]
    """From its configuration, the number of classes and the model noise."""


NETWORKS: dict[str, NetworkEntry] = {
    "deeplab_v2": NetworkEntry(DeepLabV2Config, build_deeplab_v2),
    "mlp": NetworkEntry(MlpConfig, build_mlp),
}


def build_network(config: DeepLabV2Config | MlpConfig, num_classes: int, noise: NoiseConfig) -> SegmentationNetwork:
    """Network of one student, in training mode. Seed torch first: new layers are drawn from its generator.

    Raises:
        ConfigError: a backbone or weights that cannot be had; the message names the way out.
    """
    if config.name not in NETWORKS:
        raise ConfigError(f"network.name = {config.name!r}: {suggest(config.name, NETWORKS)}")
    return NETWORKS[config.name].build(config, num_classes, noise).train()


def without_weights(config: C) -> C:
    """The same network without fetching pretrained weights, for one that is filled from a checkpoint."""
    random = {"weights": "none", "weights_file": None}
    own = {field.name for field in dataclasses.fields(config)}  # type: ignore[arg-type]
    return dataclasses.replace(config, **{key: value for key, value in random.items() if key in own})  # type: ignore[type-var]
