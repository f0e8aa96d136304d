"""CamVid in the SegNet layout: `train`, `val` images and `trainannot`, `valannot` masks; class 11
is void."""

from functools import cached_property
from pathlib import Path
from typing import Literal

from rml_trainers.configuration import configuration
from rml_trainers.data.dataset import (
    SUBSETS,
    RawImage,
    Subset,
    UInt8Array,
    check_pair,
    files_fingerprint,
    raw_image,
    read_class_numbers,
    require_folder,
    require_root,
    require_size,
)
from rml_trainers.data.files import NO_IMAGE, Lookup, Skipped, Sources, image_files
from rml_trainers.data.pictures.images import ImageFile, read_image
from rml_trainers.data.pictures.masks import MaskFile
from rml_trainers.errors import DataError
from rml_trainers.settings.contract import DataConfig

CAMVID_CLASSES = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
)
"""The 11 classes of SegNet's version, in the order of their numbers; 11 is void."""
CAMVID_VOID = 11


@configuration
class CamvidConfig(DataConfig):
    """Images under `<data root>/<folder>`."""

    name: Literal["camvid"] = "camvid"
    folder: str = "camvid"
    size_px: tuple[int, int] | None = (360, 480)
    """Height and width that every image is resized to when prepared (the original is 360×480);
    None: its own size."""

    def __post_init__(self) -> None:
        require_size(self.size_px)


def read_camvid_label(path: Path, image: ImageFile) -> tuple[UInt8Array, MaskFile]:
    """Class numbers of a mask, void as 255. Raises DataError."""
    numbers, mask = read_class_numbers(path)
    return check_pair(image, numbers, len(CAMVID_CLASSES), CAMVID_VOID, path), mask


class CamvidDataset:
    """Images `<folder>/<subset>/NAME.png|jpg` with masks `<folder>/<subset>annot/NAME.png`.

    Raises DataError without a data root, or where one of the four folders is missing or empty.
    """

    name = "camvid"
    class_names = CAMVID_CLASSES

    def __init__(self, config: CamvidConfig, data_root: Path | None) -> None:
        layout = f"  {config.folder}/train, {config.folder}/val            images, .png or .jpg\n"
        layout += (
            f"  {config.folder}/trainannot, {config.folder}/valannot  masks, .png of the same names"
        )
        root = require_root(data_root, self.name, layout)
        self.config = config
        self.folder = root / config.folder
        self.skipped = Skipped()
        self._lookup = Lookup()
        for subset in SUBSETS:
            require_folder(self.folder / subset, root, layout)
            require_folder(self.folder / f"{subset}annot", root, layout)

    @cached_property
    def _images(self) -> dict[Subset, dict[str, Path]]:
        images: dict[Subset, dict[str, Path]] = {
            subset: image_files(self.folder / subset, self.skipped) for subset in SUBSETS
        }
        for subset, files in images.items():
            if not files:
                raise DataError(f"{self.folder / subset}: no images (.png or .jpg)")
        for subset, files in images.items():
            for name in sorted(image_files(self.folder / f"{subset}annot").keys() - files.keys()):
                self.skipped.add(NO_IMAGE, f"{subset}annot/{name}")
        return images

    def names(self, subset: Subset) -> tuple[str, ...]:
        return tuple(sorted(self._images[subset]))

    def names_without_label(self) -> tuple[str, ...]:
        return ()

    def read(self, subset: Subset, name: str) -> RawImage:
        path = self._mask(subset, name)
        if not path.is_file():
            raise DataError(f"{path}: mask missing{self._other_name(path)}")
        image = read_image(self._images[subset][name])
        label, mask = read_camvid_label(path, image)
        return raw_image(image, label, mask)

    def fingerprint(self) -> str:
        return files_fingerprint(self._source_files().items())

    def sources(self) -> Sources:
        return Sources(self._source_files(), self.skipped)

    def _source_files(self) -> dict[str, Path]:
        files = {
            f"{subset}/{name}": path
            for subset in SUBSETS
            for name, path in sorted(self._images[subset].items())
        }
        masks = {
            f"{subset}annot/{name}": self._mask(subset, name)
            for subset in SUBSETS
            for name in self.names(subset)
        }
        # A missing mask is for `read` to report by name, together with every other bad file.
        return files | {name: path for name, path in masks.items() if path.is_file()}

    def _mask(self, subset: Subset, name: str) -> Path:
        return self._lookup.find(self.folder / f"{subset}annot" / f"{name}.png")

    def _other_name(self, missing: Path) -> str:
        other = self._lookup.example(missing)
        return "" if other is None else f"; a file of that folder is called {other.name}"
