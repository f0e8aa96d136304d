"""Images of any size and number of classes for benchmarks: blurred noise, and labels in blocks.
Nothing to learn."""

from pathlib import Path

import numpy as np
from filelock import FileLock
from PIL import Image

from rml_trainers.data.dataset import RawImage, Subset
from rml_trainers.data.files import Sources
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.data.prepared.prepare import prepare
from rml_trainers.data.sources.folder import FolderConfig
from rml_trainers.runtime.randomness import generator

COARSE = 16
"""Pixels per side of the noise that is enlarged to an image, and blocks per side of a label."""


class BlurredNoise:
    """Training and validation images drawn from their name alone, all with labels."""

    name = "folder"

    def __init__(
        self, size_px: tuple[int, int], num_classes: int, *, num_train: int, num_val: int
    ) -> None:
        self.class_names = tuple(f"class_{number}" for number in range(num_classes))
        self.config = FolderConfig(
            folder="blurred_noise", class_names=self.class_names, size_px=size_px
        )
        self._size_px = size_px
        self._counts = {"train": num_train, "val": num_val}

    def names(self, subset: Subset) -> tuple[str, ...]:
        return tuple(f"{subset}_{index:04d}" for index in range(self._counts[subset]))

    def names_without_label(self) -> tuple[str, ...]:
        return ()

    def read(self, subset: Subset, name: str) -> RawImage:
        rng = generator("blurred_noise", name)
        height, width = self._size_px
        noise = Image.fromarray(rng.integers(0, 256, (COARSE, COARSE, 3), dtype=np.uint8))
        blocks = Image.fromarray(
            rng.integers(0, len(self.class_names), (COARSE, COARSE), dtype=np.uint8)
        )
        image = np.asarray(noise.resize((width, height), Image.Resampling.BICUBIC))
        return RawImage(image, np.asarray(blocks.resize((width, height), Image.Resampling.NEAREST)))

    def fingerprint(self) -> str:
        return f"blurred_noise {self._counts}"

    def sources(self) -> Sources:
        return Sources()


def blurred_noise(
    folder: Path, size_px: tuple[int, int], num_classes: int, *, num_train: int, num_val: int
) -> tuple[FolderConfig, PreparedData]:
    """The prepared set under `folder`, made if it is not there yet, and its configuration."""
    dataset = BlurredNoise(size_px, num_classes, num_train=num_train, num_val=num_val)
    own = folder / f"{size_px[0]}x{size_px[1]}-{num_classes}-{num_train}-{num_val}"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(own.with_suffix(".made")):  # workers of a group may all be first
        return dataset.config, PreparedData.open(own) if own.is_dir() else prepare(dataset, own)
