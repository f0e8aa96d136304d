"""Trained networks as files that run without this project: ONNX, TorchScript, and plain weights."""

from rml_trainers.prediction.export.comparison import Difference
from rml_trainers.prediction.export.export_network import (
    FORMATS,
    Exported,
    check_target,
    export_network,
)
from rml_trainers.prediction.export.image_to_scores import OUTPUTS, ImageToScores, Output
from rml_trainers.prediction.export.safetensors_file import (
    load_exported_network,
    settings_json,
)

__all__ = [
    "FORMATS",
    "OUTPUTS",
    "Difference",
    "Exported",
    "ImageToScores",
    "Output",
    "check_target",
    "export_network",
    "load_exported_network",
    "settings_json",
]
