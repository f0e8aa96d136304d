"""safetensors: the weights of one network under their own names, with all that it takes to build
the network again."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from rml_trainers.configuration import suggest
from rml_trainers.data.dataset import SizePx
from rml_trainers.errors import CheckpointError, ConfigError
from rml_trainers.networks import NETWORKS, build_network
from rml_trainers.networks.network import SegmentationNetwork
from rml_trainers.noise.config import NoiseConfig
from rml_trainers.prediction.export.comparison import torch_scores
from rml_trainers.prediction.export.file_format import FileFormat, Request, Scores
from rml_trainers.prediction.export.image_to_scores import ImageToScores
from rml_trainers.settings.contract import NetworkConfig

SETTINGS = "rml.network_settings"
CLASSES = "rml.class_names"


def settings_json(networks: Sequence[NetworkConfig]) -> str:
    """Settings of the networks, a JSON list; of a file with pretrained weights only the name,
    because paths are nobody else's business and the weights are not needed again."""
    settings = [dataclasses.asdict(network) for network in networks]
    for values in settings:
        if values.get("weights_file"):
            values["weights_file"] = Path(values["weights_file"]).name
    return json.dumps(settings)


def write(request: Request, path: Path) -> SizePx | None:
    """See `FileFormat`."""
    network, *others = request.module.networks
    if others:
        raise ConfigError(
            "a safetensors file holds one network, and the ensemble has "
            f"{1 + len(others)}: export them one by one (teacher_1, teacher_2)"
        )
    weights = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    save_file(weights, path, metadata=dict(request.metadata))
    return request.module.input_px


def load_exported_network(path: Path) -> SegmentationNetwork:
    """A network from a file of `rml export --format safetensors`, in evaluation mode.

    It takes images float32 [B, 3, H, W] in [0, 1] and gives a `SegmentationOutput`;
    `network.upsample(output.logits, (H, W))` brings the logits to the size of the images.

    Raises:
        CheckpointError: no such file, or not one that rml exported.
        ConfigError: a kind of network that is not known here, such as a plug-in's.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    try:
        with safe_open(path, framework="pt") as stored:
            metadata = stored.metadata() or {}
            weights = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a safetensors file ({error})") from error
    if SETTINGS not in metadata or CLASSES not in metadata:
        raise CheckpointError(
            f"{path}: says nothing of its network ({SETTINGS}, {CLASSES}); expected a file of "
            "`rml export --format safetensors`"
        )
    (settings,) = json.loads(metadata[SETTINGS])
    num_classes = len(json.loads(metadata[CLASSES]))
    # Dropout and stochastic depth have no weights and do nothing outside training.
    network = build_network(
        _config(settings), num_classes, NoiseConfig(model=False), pretrained=False
    )
    network.load_state_dict(weights)
    return network.eval()


def _config(settings: dict[str, Any]) -> NetworkConfig:
    name = settings["name"]
    if name not in NETWORKS:
        raise ConfigError(f"network {name!r}: {suggest(name, NETWORKS)}")
    # JSON knows no tuples.
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
    return NETWORKS[name].config(**values)


def scores(path: Path, batches: Sequence[Tensor]) -> list[Scores]:
    """See `FileFormat`: of the network that is built again from the file alone."""
    return torch_scores(ImageToScores([load_exported_network(path)], "logits"), batches)


SAFETENSORS = FileFormat(
    suffixes=(".safetensors",),
    has_graph=False,
    require_packages=lambda: None,
    write=write,
    scores=scores,
    checked_with=lambda: f"torch {torch.__version__}, the network built again from the file",
)
