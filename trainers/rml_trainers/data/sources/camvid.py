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
    check_pair,
    files_fingerprint,
    image_files,
    read_image,
    read_mask,
    require_folder,
    require_root,
    require_size,
)
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
        for subset in SUBSETS:
            require_folder(self.folder / subset, root, layout)
            require_folder(self.folder / f"{subset}annot", root, layout)

    @cached_property
    def _images(self) -> dict[Subset, dict[str, Path]]:
        images: dict[Subset, dict[str, Path]] = {
            subset: image_files(self.folder / subset) for subset in SUBSETS
        }
        for subset, files in images.items():
            if not files:
                raise DataError(f"{self.folder / subset}: no images (.png or .jpg)")
        return images

    def names(self, subset: Subset) -> tuple[str, ...]:
        return tuple(sorted(self._images[subset]))

    def names_without_label(self) -> tuple[str, ...]:
        return ()

    def read(self, subset: Subset, name: str) -> RawImage:
        mask = self._mask(subset, name)
        image = read_image(self._images[subset][name])
        label = read_mask(mask)
        return RawImage(image, check_pair(image, label, len(self.class_names), CAMVID_VOID, mask))

    def fingerprint(self) -> str:
        files = [
            (f"{subset}/{name}", path)
            for subset in SUBSETS
            for name, path in sorted(self._images[subset].items())
        ]
        masks = [
            (f"{subset}annot/{name}", self._mask(subset, name))
            for subset in SUBSETS
            for name in self.names(subset)
        ]
        # A missing mask is for `read` to report by name, together with every other bad file.
        return files_fingerprint(files + [(name, path) for name, path in masks if path.is_file()])

    def _mask(self, subset: Subset, name: str) -> Path:
        return self.folder / f"{subset}annot" / f"{name}.png"
