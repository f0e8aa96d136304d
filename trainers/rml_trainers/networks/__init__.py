"""Networks by name. A new one is a file with its configuration and its class, and one line here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rml_trainers.configuration import suggest
from rml_trainers.errors import ConfigError
from rml_trainers.networks.deeplab_v2 import DeepLabV2Config, build_deeplab_v2
from rml_trainers.networks.mlp import MlpConfig, build_mlp
from rml_trainers.networks.network import SegmentationNetwork
from rml_trainers.networks.setr import SetrConfig, build_setr
from rml_trainers.noise.config import NoiseConfig


@dataclass(frozen=True)
class NetworkEntry:
    """What a configuration's `name` stands for."""

    config: type[Any]
    build: Callable[[Any, int, NoiseConfig, bool], SegmentationNetwork]
    """From its configuration, the number of classes, the model noise, and whether to load
    pretrained weights."""


NETWORKS: dict[str, NetworkEntry] = {
    "deeplab_v2": NetworkEntry(DeepLabV2Config, build_deeplab_v2),
    "mlp": NetworkEntry(MlpConfig, build_mlp),
    "setr": NetworkEntry(SetrConfig, build_setr),
}


def build_network(
    config: Any, num_classes: int, noise: NoiseConfig, *, pretrained: bool = True
) -> SegmentationNetwork:
    """Network of one student, in training mode. Seed torch first: new layers are drawn from its
    generator.

    Args:
        config: one of the configuration classes in `NETWORKS`.
        pretrained: false builds the same graph without looking for the pretrained weights, for a
            checkpoint to fill.
    Raises:
        ConfigError: a backbone or weights that cannot be had; the message names the way out.
    """
    if config.name not in NETWORKS:
        raise ConfigError(f"network.name = {config.name!r}: {suggest(config.name, NETWORKS)}")
    return NETWORKS[config.name].build(config, num_classes, noise, pretrained).train()
