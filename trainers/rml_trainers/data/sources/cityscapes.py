"""Cityscapes as its zip files unpack: leftImg8bit images and gtFine labelIds, of whose 34 ids 19
are scored."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from rml_trainers.configuration import configuration, require
from rml_trainers.data.dataset import (
    SUBSETS,
    RawImage,
    SizePx,
    Subset,
    UInt8Array,
    check_size,
    files_fingerprint,
    raw_image,
    read_class_numbers,
    require_folder,
    require_root,
    require_size,
    values_of,
)
from rml_trainers.data.files import (
    OTHER_NAME,
    Lookup,
    Skipped,
    Sources,
    composed,
    pictures_below,
)
from rml_trainers.data.pictures.images import ImageFile, read_image
from rml_trainers.data.pictures.masks import MaskFile
from rml_trainers.data.prepared.resizing import is_multiple, resize_image, vote_label
from rml_trainers.data.splitting.published import published_names, require_published
from rml_trainers.errors import ConfigError, DataError
from rml_trainers.settings.contract import DataConfig

CITYSCAPES_CLASSES = {
    "road": 7,
    "sidewalk": 8,
    "building": 11,
    "wall": 12,
    "fence": 13,
    "pole": 17,
    "traffic light": 19,
    "traffic sign": 20,
    "vegetation": 21,
    "terrain": 22,
    "sky": 23,
    "person": 24,
    "rider": 25,
    "car": 26,
    "truck": 27,
    "bus": 28,
    "train": 31,
    "motorcycle": 32,
    "bicycle": 33,
}
"""The 19 scored classes, in the order of their numbers (trainIds), and the id of each in labelIds;
the table of Cityscapes' own scripts (labels.py). Every other id from 0 to 33 is neither trained on
nor scored."""
NUM_LABEL_IDS = 34
IMAGE_ENDING = "_leftImg8bit.png"
MASK_ENDING = "_gtFine_labelIds.png"
WHERE = (
    "Cityscapes asks for a registration: get leftImg8bit_trainvaltest.zip and "
    "gtFine_trainvaltest.zip from "
    "www.cityscapes-dataset.com and unpack both into one folder."
)


@configuration
class CityscapesConfig(DataConfig):
    """Images under `<data root>/<folder>`."""

    name: Literal["cityscapes"] = "cityscapes"
    folder: str = "cityscapes"
    size_px: SizePx | None = (512, 1024)
    """Height and width that every image is resized to when prepared (half of the original: paper);
    None: its own."""
    label_reduction: Literal["nearest", "majority"] = "nearest"
    """How labels are made smaller; `majority` is the vote of each block's pixels, as CutMix-Seg's
    conversion has it."""
    complete: bool = True
    """Refuse a copy that has not exactly the 2975 training and 500 validation images: its splits
    would differ."""
    allow_missing_masks: bool = False
    """Training images without labelIds are unlabelled instead of an error; recipes then split the
    other images only."""

    def __post_init__(self) -> None:
        require_size(self.size_px)
        votes = self.label_reduction == "majority"
        require(
            not votes or self.size_px is not None,
            "label_reduction",
            "majority",
            "'nearest' where size_px is null",
        )


def published_cityscapes(config: CityscapesConfig, subset: Subset) -> tuple[str, ...] | None:
    """Names that a configuration can only have, known without images."""
    known = config.complete and not config.allow_missing_masks
    return published_names(f"cityscapes_{subset}") if known else None


class CityscapesDataset:
    """Image CITY/CITY_SEQ_FRAME is leftImg8bit/SUBSET/CITY/CITY_SEQ_FRAME_leftImg8bit.png; polygons
    are not needed.

    Raises DataError without a data root, where one of the four folders is missing or empty, or
    (unless the configuration takes what is there) where images are missing.
    """

    name = "cityscapes"
    class_names = tuple(CITYSCAPES_CLASSES)

    def __init__(self, config: CityscapesConfig, data_root: Path | None) -> None:
        layout = f"  {config.folder}/leftImg8bit/{{train,val}}/CITY/CITY_SEQ_FRAME{IMAGE_ENDING}\n"
        layout += (
            f"  {config.folder}/gtFine/{{train,val}}/CITY/CITY_SEQ_FRAME{MASK_ENDING}\n{WHERE}"
        )
        root = require_root(data_root, self.name, layout)
        self.config = config
        self.folder = root / config.folder
        self.skipped = Skipped()
        self._lookup = Lookup()
        for kind in ("leftImg8bit", "gtFine"):
            for subset in SUBSETS:
                require_folder(self.folder / kind / subset, root, layout)

    @cached_property
    def _names(self) -> dict[Subset, tuple[str, ...]]:
        return {subset: self._found(subset) for subset in SUBSETS}

    def _found(self, subset: Subset) -> tuple[str, ...]:
        folder = self.folder / "leftImg8bit" / subset
        names = sorted(self._named(folder))
        if not names:
            raise DataError(f"{folder}: no images (CITY/CITY_SEQ_FRAME{IMAGE_ENDING})")
        if self.config.complete:
            return require_published(names, f"cityscapes_{subset}", folder)
        return tuple(names)

    def _named(self, folder: Path) -> Iterator[str]:
        """CITY/CITY_SEQ_FRAME of every image; other pictures are left out."""
        for path in pictures_below(folder, self.skipped):
            below = composed(path.relative_to(folder).as_posix())
            if below.count("/") == 1 and below.lower().endswith(IMAGE_ENDING.lower()):
                yield below[: -len(IMAGE_ENDING)]
            else:
                self.skipped.add(OTHER_NAME, below)

    def names(self, subset: Subset) -> tuple[str, ...]:
        return self._names[subset]

    def names_without_label(self) -> tuple[str, ...]:
        if not self.config.allow_missing_masks:
            return ()
        return tuple(
            name for name in self.names("train") if not self._mask("train", name).is_file()
        )

    def read(self, subset: Subset, name: str) -> RawImage:
        """As every adapter; where labels are reduced by vote, image and label already have the
        configured size."""
        image = read_image(self._image(subset, name))
        path = self._mask(subset, name)
        if subset == "train" and self.config.allow_missing_masks and not path.is_file():
            return raw_image(image, None, None)
        ids, mask = _read_ids(path, image)
        size_px = self.config.size_px
        if (
            self.config.label_reduction == "majority"
            and size_px is not None
            and ids.shape != size_px
        ):
            if not is_multiple(ids, size_px):
                raise ConfigError(
                    f"data.label_reduction = 'majority': {path} is {ids.shape[0]}×{ids.shape[1]}, "
                    "no whole multiple of "
                    f"data.size_px = {size_px[0]}×{size_px[1]}; choose a size that divides it, or "
                    "'nearest'"
                )
            # The ids vote, not the classes: two ids that are both unscored do not add up (as in
            # CutMix-Seg).
            image = replace(image, pixels=resize_image(image.pixels, size_px))
            ids = vote_label(ids, size_px)
        return raw_image(image, train_ids(ids), mask)

    def fingerprint(self) -> str:
        return files_fingerprint(self._source_files().items())

    def sources(self) -> Sources:
        return Sources(self._source_files(), self.skipped)

    def _source_files(self) -> dict[str, Path]:
        files = {
            f"{kind}/{subset}/{name}": path
            for subset in SUBSETS
            for name in self.names(subset)
            for kind, path in (
                ("image", self._image(subset, name)),
                ("mask", self._mask(subset, name)),
            )
        }
        # A missing mask is for `read` to report by name, together with every other bad file.
        return {name: path for name, path in files.items() if path.is_file()}

    def _image(self, subset: Subset, name: str) -> Path:
        wanted = self.folder / "leftImg8bit" / subset / f"{name}{IMAGE_ENDING}"
        return self._lookup.find(wanted)

    def _mask(self, subset: Subset, name: str) -> Path:
        return self._lookup.find(self.folder / "gtFine" / subset / f"{name}{MASK_ENDING}")


def _read_ids(path: Path, image: ImageFile) -> tuple[UInt8Array, MaskFile]:
    """labelIds of a mask. Raises DataError."""
    ids, mask = read_class_numbers(path)
    check_size(image, mask.size_px, path)
    _check_ids(ids, path)
    return ids, mask


def read_cityscapes_label(path: Path, image: ImageFile) -> tuple[UInt8Array, MaskFile]:
    """Classes of a file of labelIds, at its own size. Raises DataError."""
    ids, mask = _read_ids(path, image)
    return train_ids(ids), mask


def _check_ids(ids: UInt8Array, mask: Path) -> None:
    if unknown := [value for value in values_of(ids) if value >= NUM_LABEL_IDS]:
        raise DataError(
            f"{mask}: label id {', '.join(map(str, unknown))} unknown; labelIds has 0 to "
            f"{NUM_LABEL_IDS - 1} (is this "
            "a labelTrainIds file under another name?)"
        )


def train_ids(label_ids: UInt8Array) -> UInt8Array:
    """labelIds 0..33 → classes 0..18 and 255, any shape."""
    return _TRAIN_IDS[label_ids]


_TRAIN_IDS: UInt8Array = np.full(NUM_LABEL_IDS, 255, np.uint8)
_TRAIN_IDS[list(CITYSCAPES_CLASSES.values())] = np.arange(len(CITYSCAPES_CLASSES), dtype=np.uint8)
