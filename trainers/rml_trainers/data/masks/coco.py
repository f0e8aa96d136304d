"""COCO annotations (polygons and run lengths) as class numbers, through pycocotools.

The larger of two annotations lies below the smaller one, so that small objects stay visible. Crowd
regions are pixels of their class. What no annotation covers is background, also in an image that
the file lists without any annotation; an image that the file does not list is unlabelled.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from rml_trainers.data.dataset import UInt8Array
from rml_trainers.data.files import composed, read_text
from rml_trainers.data.masks.label_tables import IGNORED
from rml_trainers.errors import DataError


@dataclass(frozen=True)
class Annotated:
    """One image of an annotation file."""

    height: int
    width: int
    regions: tuple[dict[str, Any], ...]
    """Annotations with `category_id` and `segmentation`."""


class CocoFiles:
    """Annotations of some files, by image. Raises DataError where one is no COCO file of objects,
    or lists what another one does."""

    def __init__(self, paths: Sequence[Path], root: Path) -> None:
        """
        Args:
            paths: the files. A file name in one is taken from the file's own folder where there is
                such a file, else from `root` or anywhere below it.
            root: folder of the set.
        """
        self._root = root
        self.paths = ", ".join(map(str, paths))
        self.categories: dict[int, str] = {}
        self.images: dict[str, Annotated] = {}
        for path in paths:
            self._add(path, _load(path))

    def _add(self, path: Path, content: dict[str, Any]) -> None:
        categories = {int(one["id"]): str(one["name"]) for one in content["categories"]}
        twice = [name for name, n in Counter(categories.values()).items() if n > 1]
        if twice:
            raise DataError(f"{path}: categories of one name: {', '.join(twice)}")
        if self.categories and self.categories != categories:
            raise DataError(f"{path}: has other categories than the other files of annotations")
        self.categories = categories
        regions = defaultdict[int, list[dict[str, Any]]](list)
        for region in content["annotations"]:
            if region["category_id"] not in self.categories:
                raise DataError(
                    f"{path}: annotation {region.get('id')} is of category "
                    f"{region['category_id']}, which the file does not have"
                )
            regions[region["image_id"]].append(region)
        for one in content["images"]:
            name = self._name(path, one["file_name"].replace("\\", "/"))
            if name in self.images:
                raise DataError(f"{path}: the image {name} is listed twice")
            self.images[name] = Annotated(one["height"], one["width"], tuple(regions[one["id"]]))

    def _name(self, path: Path, file_name: str) -> str:
        beside = path.parent / file_name
        if beside.is_file() and beside.is_relative_to(self._root):
            file_name = beside.relative_to(self._root).as_posix()
        return composed(PurePosixPath(file_name).as_posix())

    @property
    def category_names(self) -> tuple[str, ...]:
        """In the order of their ids."""
        return tuple(self.categories[number] for number in sorted(self.categories))

    def find(self, below: PurePosixPath) -> str | None:
        """File name under which the file lists an image, given by its path: that path, or the
        end of it."""
        parts = composed(below.as_posix()).split("/")
        ends = ("/".join(parts[i:]) for i in range(len(parts)))
        return next((end for end in ends if end in self.images), None)

    def label(
        self, name: str, class_numbers: dict[str, int], background: int, size_px: tuple[int, int]
    ) -> UInt8Array:
        """Class numbers [H, W] of one image.

        Args:
            name: file name as the file lists it.
            class_numbers: category → class number; a category that is not there is ignored (255).
            background: class number, or 255, of what no annotation covers.
            size_px: height and width of the image itself.

        Raises:
            DataError: the file states another size, or a region cannot be drawn.
        """
        image = self.images[name]
        if (image.height, image.width) != size_px:
            raise DataError(
                f"{self.paths}: {name} is {image.height}×{image.width} there, the image is "
                f"{size_px[0]}×{size_px[1]} (height×width, upright by EXIF)"
            )
        label = np.full(size_px, background, np.uint8)
        drawn = [(self._mask(region, name, size_px), region) for region in image.regions]
        for pixels, region in sorted(drawn, key=lambda one: -int(one[0].sum())):
            category = self.categories[region["category_id"]]
            label[pixels] = class_numbers.get(category, IGNORED)
        return label

    def _mask(
        self, region: dict[str, Any], name: str, size_px: tuple[int, int]
    ) -> "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]":
        tools = _mask_tools()
        shape = region.get("segmentation")
        try:
            if isinstance(shape, list):
                drawable = [polygon for polygon in shape if len(polygon) >= 6]
                if not drawable:
                    return np.zeros(size_px, bool)
                coded = tools.merge(tools.frPyObjects(drawable, *size_px))
            elif isinstance(shape, dict) and isinstance(shape.get("counts"), list):
                coded = tools.frPyObjects(shape, *size_px)
            elif isinstance(shape, dict):
                coded = {"size": shape["size"], "counts": shape["counts"].encode()}
            else:
                raise ValueError("it has no polygon and no run lengths")
            pixels = np.asarray(tools.decode(coded)).astype(bool)
        except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
            raise DataError(
                f"{self.paths}: annotation {region.get('id')} of {name} cannot be drawn: {error}"
            ) from error
        if pixels.shape != size_px:
            raise DataError(
                f"{self.paths}: annotation {region.get('id')} of {name} is of size {pixels.shape}"
            )
        return pixels


def is_coco(content: object) -> bool:
    """Whether a parsed JSON value has the three lists of COCO's object annotations."""
    keys = ("images", "annotations", "categories")
    return isinstance(content, dict) and all(isinstance(content.get(key), list) for key in keys)


def _load(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise DataError(f"data.annotations: {path}: no such file")
    try:
        content = json.loads(read_text(path))
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON ({error})") from error
    if not is_coco(content):
        raise DataError(
            f"{path}: not a COCO file of objects; expected lists of images, annotations and "
            "categories"
        )
    _require_keys(content, path)
    return dict(content)


def _require_keys(content: dict[str, Any], path: Path) -> None:
    wanted = {
        "images": ("id", "file_name", "height", "width"),
        "annotations": ("image_id", "category_id", "segmentation"),
        "categories": ("id", "name"),
    }
    for part, keys in wanted.items():
        for one in content[part]:
            missing = [key for key in keys if not isinstance(one, dict) or key not in one]
            if missing:
                raise DataError(
                    f"{path}: an entry of {part} has no {', '.join(missing)}; expected "
                    f"{', '.join(keys)}"
                )


def _mask_tools() -> Any:
    try:
        from pycocotools import mask
    except ImportError as error:
        raise DataError(
            "data.annotations: COCO files need the package pycocotools: pip install pycocotools"
        ) from error
    return mask
