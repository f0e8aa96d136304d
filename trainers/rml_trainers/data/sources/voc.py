"""PASCAL VOC 2012 as its archive unpacks (VOCdevkit/VOC2012), its training set enlarged by the
labels of SBD."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Literal

from rml_trainers.configuration import configuration
from rml_trainers.data.dataset import (
    SUBSETS,
    RawImage,
    SizePx,
    Subset,
    UInt8Array,
    check_pair,
    files_fingerprint,
    raw_image,
    require_folder,
    require_root,
    require_size,
)
from rml_trainers.data.files import NOT_LISTED, Lookup, Skipped, Sources, pictures_below
from rml_trainers.data.pictures.images import ImageFile, read_image
from rml_trainers.data.pictures.masks import MaskFile
from rml_trainers.data.sources.sbd import MAT_FOLDERS, PNG_FOLDER, read_sbd_mask, sbd_masks
from rml_trainers.data.splitting.name_lists import read_names
from rml_trainers.data.splitting.published import published_names, require_published
from rml_trainers.errors import DataError, DataMissingError
from rml_trainers.settings.contract import DataConfig

VOC_CLASSES = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
"""The 21 classes in the order of their numbers; 255 is the border around objects."""
VOC_BORDER = 255


@configuration
class VocConfig(DataConfig):
    """Images under `<data root>/<folder>`, the masks of SBD there or under
    `<data root>/<sbd_folder>`."""

    name: Literal["voc"] = "voc"
    folder: str = "VOCdevkit/VOC2012"
    sbd_folder: str = "SBD"
    train_set: Literal["train", "train_aug"] = "train_aug"
    """VOC's own 1464 training images, or the 10582 that everyone trains on: those and the ones that
    SBD labels."""
    size_px: SizePx | None = None
    """Height and width that every image is resized to when prepared; None: every image keeps its
    own size."""
    complete: bool = True
    """Refuse a copy that lacks images of the published sets: its splits would differ."""

    def __post_init__(self) -> None:
        require_size(self.size_px)

    def list_name(self, subset: Subset) -> str:
        """Published list of a subset's names."""
        return f"voc2012_{self.train_set if subset == 'train' else subset}"


def published_voc(config: VocConfig, subset: Subset) -> tuple[str, ...] | None:
    """Names that a configuration can only have, known without images."""
    return published_names(config.list_name(subset)) if config.complete else None


def read_voc_label(path: Path, image: ImageFile) -> tuple[UInt8Array, MaskFile]:
    """Class numbers of a mask of VOC or SBD, borders as 255. Raises DataError."""
    numbers, mask = read_sbd_mask(path)
    return check_pair(image, numbers, len(VOC_CLASSES), VOC_BORDER, path), mask


class VocDataset:
    """Images JPEGImages/NAME.jpg; masks SegmentationClass/NAME.png or, for images that VOC does not
    label, SBD's.

    Raises DataError without a data root, where a folder or list is missing, or (unless the
    configuration takes what is there) where labels of the published sets are missing.
    """

    name = "voc"
    class_names = VOC_CLASSES

    def __init__(self, config: VocConfig, data_root: Path | None) -> None:
        layout = (
            f"  {config.folder}/JPEGImages, SegmentationClass, "
            "ImageSets/Segmentation/{train,val}.txt\n"
        )
        layout += (
            f"  {config.folder}/{PNG_FOLDER}/*.png or {config.sbd_folder}/{MAT_FOLDERS[0]}/*.mat"
        )
        layout += (
            "   for train_set: train_aug\n`rml data download voc` fetches VOC and the .mat files"
        )
        root = require_root(data_root, self.name, layout)
        self.config = config
        self.folder = root / config.folder
        self.sbd_folder = root / config.sbd_folder
        self._lookup = Lookup()
        for kind in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
            require_folder(self.folder / kind, root, layout)

    @cached_property
    def _sbd(self) -> dict[str, Path]:
        """Masks of images that VOC itself does not label; of a complete set those that `train_aug`
        lists."""
        if self.config.train_set == "train":
            return {}
        masks = sbd_masks(self.folder, self.sbd_folder)
        wanted = (
            set(published_names(self.config.list_name("train")))
            if self.config.complete
            else masks.keys()
        )
        own = {*self._listed("train"), *self._listed("val")}
        return {name: path for name, path in masks.items() if name in wanted and name not in own}

    @cached_property
    def _names(self) -> dict[Subset, tuple[str, ...]]:
        return {"train": self._train_names(), "val": self._checked(self._listed("val"), "val")}

    def _train_names(self) -> tuple[str, ...]:
        own = self._listed("train")
        if self.config.train_set == "train":
            return self._checked(own, "train")
        if not self._sbd:
            raise DataMissingError(
                f"{self.sbd_folder}: no masks of SBD for train_set 'train_aug': neither "
                f"{PNG_FOLDER}/*.png there or in "
                f"{self.folder}, nor {MAT_FOLDERS[0]}/*.mat. `rml data download voc` fetches them; "
                "without them set "
                "data.train_set: train"
            )
        return self._checked(tuple(sorted([*own, *self._sbd])), "train")

    def _checked(self, found: tuple[str, ...], subset: Subset) -> tuple[str, ...]:
        if not self.config.complete:
            return found
        return require_published(found, self.config.list_name(subset), self.folder)

    def _listed(self, subset: Subset) -> tuple[str, ...]:
        file = self.folder / "ImageSets" / "Segmentation" / f"{subset}.txt"
        if not file.is_file():
            raise DataError(
                f"{file}: no such file; it lists the {subset} images and is part of VOC's archive"
            )
        return read_names(file)

    def names(self, subset: Subset) -> tuple[str, ...]:
        return self._names[subset]

    def names_without_label(self) -> tuple[str, ...]:
        return ()

    def read(self, subset: Subset, name: str) -> RawImage:
        path = self._mask(name)
        image = read_image(self._image(name))
        label, mask = read_voc_label(path, image)
        return raw_image(image, label, mask)

    def fingerprint(self) -> str:
        # A missing file is for `read` to report by name, together with every other bad file.
        return files_fingerprint(
            (name, path) for name, path in self._source_files() if path.is_file()
        )

    def sources(self) -> Sources:
        files = {name: path for name, path in self._source_files() if path.is_file()}
        skipped = Skipped()
        used = {*self.names("train"), *self.names("val")}
        for path in pictures_below(self.folder / "JPEGImages", skipped):
            if path.stem not in used:
                skipped.add(NOT_LISTED, f"JPEGImages/{path.name}")
        return Sources(files, skipped)

    def lacking(self) -> Iterator[Path]:
        """Files of the set's names that are not there or empty, as an archive leaves them that was
        cut off while it was unpacked. Raises DataError."""
        for _, path in self._source_files():
            if not path.is_file() or path.stat().st_size == 0:
                yield path

    def _source_files(self) -> Iterator[tuple[str, Path]]:
        for subset in SUBSETS:
            for name in self.names(subset):
                yield f"{subset}/{name}", self._image(name)
                yield f"mask/{name}", self._mask(name)

    def _image(self, name: str) -> Path:
        return self._lookup.find(self.folder / "JPEGImages" / f"{name}.jpg")

    def _mask(self, name: str) -> Path:
        own = self.folder / "SegmentationClass" / f"{name}.png"
        return self._sbd.get(name) or self._lookup.find(own)
