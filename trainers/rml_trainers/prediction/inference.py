"""The networks of a finished run: a checkpoint folder and its configuration are all that is
needed."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from rml_trainers.checkpoint.folder import verify_checkpoint
from rml_trainers.config import RunConfig
from rml_trainers.configuration import suggest
from rml_trainers.data.prepared.resizing import resized_to
from rml_trainers.errors import CheckpointError, ConfigError
from rml_trainers.networks import build_network
from rml_trainers.networks.accelerate import accelerate
from rml_trainers.networks.network import SegmentationNetwork
from rml_trainers.prediction.overlays import overlay, palette
from rml_trainers.prediction.windows import as_input
from rml_trainers.runtime.device import autocast, compute_dtype
from rml_trainers.scoring.chosen_evaluation import NETWORKS
from rml_trainers.scoring.image_passes import ScoredNetwork, sliding
from rml_trainers.scoring.metrics import most_likely
from rml_trainers.settings.evaluation import SCORED_NETWORKS, EvaluationConfig

__all__ = [
    "Predictor",
    "load_network",
    "network_numbers",
    "overlay",
    "palette",
    "predict_image",
    "predict_images",
]

MAX_BATCH = 4
"""Whole images at once: enough to fill a device, few enough for the memory of any."""


class Predictor(nn.Module):
    """One network, or several whose probabilities are averaged, in evaluation mode on one device.

    Images go through it as the run's evaluation says: whole, padded to its canvas where they fit,
    or in windows.
    """

    def __init__(
        self,
        networks: list[SegmentationNetwork],
        device: torch.device,
        dtype: torch.dtype,
        evaluation: EvaluationConfig | None = None,
        *,
        accelerated: bool = True,
    ) -> None:
        """`accelerated=False` leaves the networks plain torch."""
        super().__init__()
        self._evaluation = evaluation or EvaluationConfig()
        self.networks = nn.ModuleList(networks)
        self.device = device
        self._dtype = dtype
        self.eval().requires_grad_(False).to(device).to(memory_format=torch.channels_last)
        if accelerated:
            for network in networks:
                accelerate(network, device)

    @property
    def input_px(self) -> tuple[int, int] | None:
        """The only height and width of images that the networks take; None: any."""
        sizes = {network.input_px for network in self._each()} - {None}
        assert len(sizes) <= 1, "students of one run are trained on crops of one size"
        return sizes.pop() if sizes else None

    @torch.no_grad()
    def forward(self, images: Tensor, size_px: tuple[int, int]) -> Tensor:
        """Images [B, 3, H, W] in [0, 1] → class probabilities float32 [B, K, *size_px], as the
        run's evaluation has them."""
        images = self._moved(images)
        found = [self._as_scored(network, images, size_px) for network in self._each()]
        return torch.stack(found).mean(dim=0)

    @torch.no_grad()
    def probability(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] in [0, 1], in one piece → class probabilities float32 [B, K, H, W].

        A run whose evaluation pads has them padded where they fit its canvas.
        """
        images = self._moved(images)
        found = [self._in_one_piece(network, images) for network in self._each()]
        return found[0] if len(found) == 1 else torch.stack(found).mean(dim=0)

    def _each(self) -> Iterator[SegmentationNetwork]:
        for network in self.networks:
            assert isinstance(network, SegmentationNetwork)
            yield network

    def _moved(self, images: Tensor) -> Tensor:
        return images.to(device=self.device, memory_format=torch.channels_last)

    def _as_scored(
        self, network: SegmentationNetwork, images: Tensor, size_px: tuple[int, int]
    ) -> Tensor:
        own_px = (images.shape[-2], images.shape[-1])
        if self._evaluation.inference == "sliding":
            scored = ScoredNetwork(partial(self._logits, network), network.zero_colour)
            prob = sliding(scored, images, None, self._evaluation).softmax(dim=1)
        elif self._fits_canvas(own_px):
            prob = self._in_one_piece(network, images)
        else:
            return self._logits(network, images, size_px).softmax(dim=1)
        return prob if own_px == size_px else network.upsample(prob, size_px)

    def _in_one_piece(self, network: SegmentationNetwork, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        canvas_px = self._evaluation.canvas_px
        if canvas_px is None or not self._fits_canvas((height, width)):
            return self._logits(network, images).softmax(dim=1)
        canvas = network.zero_colour.expand(len(images), images.shape[1], *canvas_px).clone()
        canvas[..., :height, :width] = images
        return self._logits(network, canvas)[..., :height, :width].softmax(dim=1)

    def _fits_canvas(self, size_px: tuple[int, int]) -> bool:
        canvas_px = self._evaluation.canvas_px
        return canvas_px is not None and size_px[0] <= canvas_px[0] and size_px[1] <= canvas_px[1]

    def _logits(
        self, network: SegmentationNetwork, images: Tensor, at_px: tuple[int, int] | None = None
    ) -> Tensor:
        with autocast(self.device, self._dtype):
            logits = network(images.contiguous(memory_format=torch.channels_last)).logits
        return network.upsample(logits, at_px or (images.shape[-2], images.shape[-1]))


def load_network(
    checkpoint: Path,
    config: RunConfig,
    num_classes: int,
    network: str,
    device: torch.device,
    *,
    accelerated: bool = True,
) -> Predictor:
    """Load one of `SCORED_NETWORKS` of a run; `ensemble` is the mean of the mean teachers'
    probabilities.

    A run that scores a chosen moment (`evaluation.moment`) keeps its scored networks as they were
    then: those are loaded, because the score is theirs. `accelerated=False` leaves them plain
    torch, for those who take them apart.

    Raises:
        CheckpointError: the folder is incomplete or damaged, or was made by another configuration.
        ConfigError: no such network in this run.
    """
    numbers = network_numbers(config, network)
    verify_checkpoint(checkpoint)
    file, tensors = _stored(
        checkpoint, "students" if network.startswith("student") else "teachers", numbers
    )
    networks = [_load_one(tensors, number, config, num_classes, file) for number in numbers]
    dtype = compute_dtype(config.precision, device)
    return Predictor(networks, device, dtype, config.evaluation, accelerated=accelerated)


def _stored(checkpoint: Path, group: str, numbers: list[int]) -> tuple[Path, dict[str, Tensor]]:
    """File and weights: of the evaluation that the run chose where it chose one and scored them,
    else the newest."""
    extras = checkpoint / "extras.safetensors"
    prefixes = tuple(f"moment/{NETWORKS}{group}/{number}." for number in numbers)
    with safe_open(extras, framework="pt") as stored:
        chosen = [name for name in stored.keys() if name.startswith(prefixes)]  # noqa: SIM118
        if {name[: len(prefixes[0])] for name in chosen} == set(prefixes):
            start = len(f"moment/{NETWORKS}{group}/")
            return extras, {name[start:]: stored.get_tensor(name) for name in chosen}
    file = checkpoint / f"{group}.safetensors"
    return file, load_file(file)


def network_numbers(config: RunConfig, network: str) -> list[int]:
    """Numbers, from 1, of the networks behind a name. Raises ConfigError for a network that the run
    does not have."""
    if network not in SCORED_NETWORKS:
        raise ConfigError(f"network {network!r}: {suggest(network, SCORED_NETWORKS)}")
    num_students = len(config.student_networks)
    if network == "ensemble":
        return list(range(1, num_students + 1))
    number = int(network.rsplit("_", maxsplit=1)[1])
    if number > num_students:
        raise ConfigError(
            f"network {network!r}: a run of {config.method.name!r} has one student and one teacher"
        )
    return [number]


def _load_one(
    tensors: dict[str, Tensor], number: int, config: RunConfig, num_classes: int, path: Path
) -> SegmentationNetwork:
    """Build network `number` without fetching pretrained weights, then fill it from the
    checkpoint."""
    network = build_network(
        config.student_networks[number - 1], num_classes, config.noise, pretrained=False
    )
    prefix = f"{number}."
    own = {
        key.removeprefix(prefix): tensor
        for key, tensor in tensors.items()
        if key.startswith(prefix)
    }
    try:
        network.load_state_dict(own)
    except RuntimeError as error:
        raise CheckpointError(
            f"{path}: network {number} does not fit the configuration with {num_classes} classes "
            f"({error})"
        ) from error
    return network


def predict_image(
    predictor: Predictor, image: npt.NDArray[np.uint8], size_px: tuple[int, int] | None
) -> npt.NDArray[np.uint8]:
    """Class of every pixel: image uint8 [H, W, 3] → mask uint8 [H, W] at the image's own size.

    Args:
        size_px: height and width that the network was trained at; the image is resized to it first
            (None: it was trained on images of their own size, and nothing is resized).
    """
    return predict_images(predictor, [image], size_px)[0]


def predict_images(
    predictor: Predictor, images: Sequence[npt.NDArray[np.uint8]], size_px: tuple[int, int] | None
) -> list[npt.NDArray[np.uint8]]:
    """The same for several images; those of one size go through the network together, at most
    `MAX_BATCH`."""
    masks: dict[int, npt.NDArray[np.uint8]] = {}
    by_size: dict[tuple[int, int], list[int]] = {}
    for number, image in enumerate(images):
        by_size.setdefault((image.shape[0], image.shape[1]), []).append(number)
    for own_size_px, numbers in by_size.items():
        for start in range(0, len(numbers), MAX_BATCH):
            chosen = numbers[start : start + MAX_BATCH]
            pixels = as_input([resized_to(images[number], size_px) for number in chosen])
            classes = most_likely(predictor(pixels, own_size_px)).to(torch.uint8).cpu().numpy()
            masks.update(zip(chosen, classes, strict=True))
    return [masks[number] for number in range(len(images))]
