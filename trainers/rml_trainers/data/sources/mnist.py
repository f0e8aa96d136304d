"""MNIST as segmentation: every pixel of an image has the image's class, so that an image counts as
one pixel.

A network with one cell per image (`mlp`) is then trained, mixed, monitored and scored by the code
that serves streets: a mean over pixels is a mean over images, pixel accuracy is accuracy, and
CutMix weighs the two classes by their area.
"""

from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from rml_trainers.configuration import configuration, require
from rml_trainers.data.dataset import (
    SUBSETS,
    RawImage,
    Subset,
    UInt8Array,
    files_fingerprint,
    require_folder,
    require_root,
)
from rml_trainers.data.files import Sources
from rml_trainers.data.sources.idx import read_idx
from rml_trainers.errors import DataError
from rml_trainers.settings.contract import DataConfig

MNIST_CLASSES = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
_PREFIX: dict[Subset, str] = {"train": "train", "val": "t10k"}
_PARTS = ("images-idx3-ubyte", "labels-idx1-ubyte")


@configuration
class MnistConfig(DataConfig):
    """The four idx files under `<data root>/<folder>`, `…/raw` or `…/MNIST/raw` (as torchvision
    lays them)."""

    name: Literal["mnist"] = "mnist"
    folder: str = "mnist"
    size_px: tuple[int, int] = (28, 28)
    """Height and width that every image is resized to when prepared (the original is 28×28)."""

    def __post_init__(self) -> None:
        require(min(self.size_px) >= 8, "size_px", self.size_px, "at least 8 pixels each way")


class MnistDataset:
    """60000 training and 10000 validation (MNIST's test) images, numbered through from 00000 to
    69999.

    Raises DataError without a data root, or where a file is missing or damaged.
    """

    name = "mnist"
    class_names = MNIST_CLASSES

    def __init__(self, config: MnistConfig, data_root: Path | None) -> None:
        layout = (
            f"  {config.folder}/{{train,t10k}}-{{{','.join(_PARTS)}}}  as they are or gzipped (.gz)"
        )
        root = require_root(data_root, self.name, layout)
        self.config = config
        self.folder = root / config.folder
        require_folder(self.folder, root, layout)

    @cached_property
    def _files(self) -> dict[Subset, tuple[Path, Path]]:
        return {
            subset: (self._file(subset, _PARTS[0]), self._file(subset, _PARTS[1]))
            for subset in SUBSETS
        }

    def _file(self, subset: Subset, part: str) -> Path:
        """One of the four files under any of its usual names."""
        stems = [f"{_PREFIX[subset]}-{name}" for name in (part, part.replace("-idx", ".idx"))]
        for folder in (self.folder, self.folder / "raw", self.folder / "MNIST" / "raw"):
            for stem in stems:
                for path in (folder / stem, folder / f"{stem}.gz"):
                    if path.is_file():
                        return path
        raise DataError(
            f"{self.folder}: neither {stems[0]} nor {stems[0]}.gz (nor in raw/ or MNIST/raw/)"
        )

    @cached_property
    def _arrays(self) -> dict[Subset, tuple[UInt8Array, UInt8Array]]:
        """Images [N, H, W] and digits [N] of both subsets: 55 MB, read once."""
        return {subset: _read_subset(*self._files[subset]) for subset in SUBSETS}

    def names(self, subset: Subset) -> tuple[str, ...]:
        first = self._first(subset)
        return tuple(f"{first + i:05d}" for i in range(len(self._arrays[subset][0])))

    def _first(self, subset: Subset) -> int:
        return 0 if subset == "train" else len(self._arrays["train"][0])

    def names_without_label(self) -> tuple[str, ...]:
        return ()

    def read(self, subset: Subset, name: str) -> RawImage:
        images, digits = self._arrays[subset]
        number = int(name) - self._first(subset)
        grey = images[number]
        return RawImage(np.repeat(grey[..., None], 3, axis=2), np.full_like(grey, digits[number]))

    def fingerprint(self) -> str:
        return files_fingerprint(self.sources().files.items())

    def sources(self) -> Sources:
        return Sources(
            {f"{subset}/{path.name}": path for subset in SUBSETS for path in self._files[subset]}
        )


def _read_subset(image_file: Path, label_file: Path) -> tuple[UInt8Array, UInt8Array]:
    images = read_idx(image_file, num_axes=3)
    digits = read_idx(label_file, num_axes=1)
    if len(images) != len(digits) or not len(images):
        raise DataError(
            f"{image_file} holds {len(images)} images, {label_file.name} {len(digits)} labels"
        )
    if digits.max() >= len(MNIST_CLASSES):
        raise DataError(
            f"{label_file}: class {digits.max()} out of range; expected 0..{len(MNIST_CLASSES) - 1}"
        )
    return images, digits
