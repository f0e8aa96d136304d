"""Anybody's data: a pair of folders of images and masks, with optional name lists."""

import hashlib
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Literal

from rml_trainers.configuration import configuration, require
from rml_trainers.data.dataset import (
    RawImage,
    Subset,
    check_pair,
    files_fingerprint,
    image_files,
    read_image,
    read_mask,
    require_folder,
    require_root,
    require_size,
)
from rml_trainers.data.splitting.name_lists import read_names
from rml_trainers.errors import DataError
from rml_trainers.settings.contract import DataConfig


@configuration
class FolderConfig(DataConfig):
    """`<data root>/<folder>/images/*` and `<data root>/<folder>/masks/*`; unlabelled images need no
    mask."""

    name: Literal["folder"] = "folder"
    folder: str
    class_names: tuple[str, ...]
    """Name of each class, in the order of its number in the masks."""
    images: str = "images"
    masks: str = "masks"
    train_list: str | None = None
    """Text file of bare names under `folder`; default: every image that is not for validation."""
    val_list: str | None = None
    """Text file of bare names under `folder`. Default: every image with a mask that `train_list`
    leaves out; without a `train_list`, the last `val_fraction` of the images with a mask, in the
    order of a hash of their names."""
    val_fraction: float = 0.2
    ignore_value: int = 255
    """Mask value that is neither trained on nor scored."""
    size_px: tuple[int, int] | None
    """Height and width that every image is resized to when prepared; None: every image keeps its
    own size."""

    def __post_init__(self) -> None:
        require(
            2 <= len(self.class_names) <= 255, "class_names", self.class_names, "2 to 255 names"
        )
        require(
            len(set(self.class_names)) == len(self.class_names),
            "class_names",
            self.class_names,
            "no name twice",
        )
        require(0 < self.val_fraction < 1, "val_fraction", self.val_fraction, "a share in (0, 1)")
        require(
            0 <= self.ignore_value <= 255,
            "ignore_value",
            self.ignore_value,
            "a mask value from 0 to 255",
        )
        require_size(self.size_px)


class FolderDataset:
    """Images and masks are matched by their path without suffix; sub-folders are part of the name.

    Raises DataError for missing folders or lists, a mask without image, a name on both lists, or a
    validation image without mask.
    """

    name = "folder"

    def __init__(self, config: FolderConfig, data_root: Path | None) -> None:
        layout = f"  {config.folder}/{config.images}   images (.png, .jpg, …)\n"
        layout += (
            f"  {config.folder}/{config.masks}    masks, .png of the same names: class "
            "numbers in grey or palette"
        )
        root = require_root(data_root, self.name, layout)
        self.config = config
        self.folder = root / config.folder
        require_folder(self.folder / config.images, root, layout)
        require_folder(self.folder / config.masks, root, layout)

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.config.class_names

    @cached_property
    def _images(self) -> dict[str, Path]:
        files = image_files(self.folder / self.config.images)
        if not files:
            raise DataError(f"{self.folder / self.config.images}: no images")
        return files

    @cached_property
    def _masks(self) -> dict[str, Path]:
        masks = image_files(self.folder / self.config.masks)
        if orphans := sorted(masks.keys() - self._images.keys()):
            example = next(iter(self._images))
            raise DataError(
                f"{self.folder / self.config.masks}: masks without an image of the same name: "
                f"{', '.join(orphans)}"
                f" (an image is called {example!r})"
            )
        return masks

    @cached_property
    def _subsets(self) -> dict[Subset, tuple[str, ...]]:
        """Names of both subsets, by lists or by hash."""
        val = self._val_names()
        train = self._listed("train_list")
        if train is None:
            held_out = set(val)
            train = tuple(sorted(name for name in self._images if name not in held_out))
        if both := sorted(set(train) & set(val)):
            raise DataError(
                f"{self.folder}: for training and for validation at once: {', '.join(both)}"
            )
        if unmasked := [name for name in val if name not in self._masks]:
            raise DataError(
                f"{self.folder}: validation images without a mask: {', '.join(unmasked)}"
            )
        for subset, names in (("train", train), ("val", val)):
            if not names:
                raise DataError(
                    f"{self.folder}: no {subset} images left; {len(self._masks)} images have a mask"
                )
        return {"train": train, "val": val}

    def _val_names(self) -> tuple[str, ...]:
        listed = self._listed("val_list")
        if listed is not None:
            return listed
        train = self._listed("train_list")
        if train is not None:
            return tuple(sorted(self._masks.keys() - set(train)))
        in_hash_order = sorted(self._masks, key=lambda name: hashlib.sha256(name.encode()).digest())
        num_val = max(1, round(len(in_hash_order) * self.config.val_fraction))
        return (
            tuple(sorted(in_hash_order[len(in_hash_order) - num_val :]))
            if len(in_hash_order) > 1
            else ()
        )

    def _listed(self, key: Literal["train_list", "val_list"]) -> tuple[str, ...] | None:
        path: str | None = getattr(self.config, key)
        if path is None:
            return None
        file = self.folder / path
        if not file.is_file():
            raise DataError(f"data.{key}: {file}: no such file")
        names = read_names(file)
        if unknown := [name for name in names if name not in self._images]:
            raise DataError(
                f"{file}: no image for {', '.join(unknown)}. Names have no suffix, one a line"
            )
        return names

    def names(self, subset: Subset) -> tuple[str, ...]:
        return self._subsets[subset]

    def names_without_label(self) -> tuple[str, ...]:
        return tuple(name for name in self.names("train") if name not in self._masks)

    def read(self, subset: Subset, name: str) -> RawImage:
        image = read_image(self._images[name])
        mask = self._masks.get(name)
        if mask is None:
            return RawImage(image, None)
        label = read_mask(mask)
        return RawImage(
            image, check_pair(image, label, len(self.class_names), self.config.ignore_value, mask)
        )

    def fingerprint(self) -> str:
        return files_fingerprint(self._source_files())

    def _source_files(self) -> Iterable[tuple[str, Path]]:
        for subset, names in self._subsets.items():
            for name in names:
                yield f"{subset}/{name}", self._images[name]
                if name in self._masks:
                    yield f"mask/{name}", self._masks[name]
