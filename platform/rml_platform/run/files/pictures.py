"""A few predictions of a finished run as pictures, to be looked at in the tracker: image, truth,
prediction."""

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from rml_platform.run.storage import Folder
from rml_trainers import IGNORE_LABEL
from rml_trainers.config import RunConfig
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.prediction.inference import load_network, overlay, palette, predict_image

NUM_PICTURES = 4


def write_pictures(
    run_folder: Folder,
    checkpoint: Path,
    config: RunConfig,
    data: PreparedData,
    device: torch.device,
) -> None:
    """Write `predictions/<image>.png` for validation images spread evenly over the set."""
    network = config.evaluation.networks[0]
    predictor = load_network(checkpoint, config, data.num_classes, network, device)
    colours = palette(data.num_classes)
    names = data.names("val")
    for i in np.unique(np.linspace(0, len(names) - 1, NUM_PICTURES).round().astype(int)).tolist():
        image = data.image("val", i)
        label = data.label("val", i)
        truth = np.full(image.shape[:2], IGNORE_LABEL, dtype=np.uint8) if label is None else label
        mask = predict_image(predictor, image, data.size_px)
        panels = [np.asarray(image), overlay(image, truth, colours), overlay(image, mask, colours)]
        png = io.BytesIO()
        Image.fromarray(np.concatenate(panels, axis=1)).save(png, format="PNG")
        run_folder.child("predictions").write(f"{names[i]}.png", png.getvalue())
