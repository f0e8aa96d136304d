"""Networks by name. A new one is a file with its settings and its class, and one line here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rml_trainers.configuration import suggest
from rml_trainers.errors import ConfigError
from rml_trainers.networks.deeplab_v2 import DeepLabV2Config, build_deeplab_v2
from rml_trainers.networks.deeplab_v3_plus import DeepLabV3PlusConfig, build_deeplab_v3_plus
from rml_trainers.networks.dpt import DptConfig, build_dpt
from rml_trainers.networks.mlp import MlpConfig, build_mlp
from rml_trainers.networks.network import SegmentationNetwork
from rml_trainers.networks.segformer_head import SegformerHeadConfig, build_segformer_head
from rml_trainers.networks.setr import SetrConfig, build_setr
from rml_trainers.noise.config import NoiseConfig
from rml_trainers.settings.contract import NetworkConfig


@dataclass(frozen=True)
class NetworkEntry:
    """What a configuration's `name` stands for."""

    config: type[NetworkConfig]
    build: Callable[[Any, int, NoiseConfig, bool], SegmentationNetwork]
    """From its settings, the number of classes, the model noise, and whether to load
    pretrained weights."""


NETWORKS: dict[str, NetworkEntry] = {
    "deeplab_v2": NetworkEntry(DeepLabV2Config, build_deeplab_v2),
    "deeplab_v3_plus": NetworkEntry(DeepLabV3PlusConfig, build_deeplab_v3_plus),
    "dpt": NetworkEntry(DptConfig, build_dpt),
    "mlp": NetworkEntry(MlpConfig, build_mlp),
    "segformer_head": NetworkEntry(SegformerHeadConfig, build_segformer_head),
    "setr": NetworkEntry(SetrConfig, build_setr),
}
"""Open: a plug-in adds its own before a study is read."""

DEFAULT_NETWORK: NetworkConfig = DeepLabV2Config()
"""The network of a run that names none."""


def build_network(
    config: NetworkConfig, num_classes: int, noise: NoiseConfig, *, pretrained: bool = True
) -> SegmentationNetwork:
    """Network of one student, in training mode. Seed torch first: new layers are drawn from its
    generator.

    Args:
        config: settings of one of the classes in `NETWORKS`.
        pretrained: false builds the same graph without looking for the pretrained weights, for a
            checkpoint to fill.
    Raises:
        ConfigError: a backbone or weights that cannot be had; the message names the way out.
    """
    if config.name not in NETWORKS:
        raise ConfigError(f"network.name = {config.name!r}: {suggest(config.name, NETWORKS)}")
    return NETWORKS[config.name].build(config, num_classes, noise, pretrained).train()
