"""Miniature Cityscapes and VOC trees, in the exact layout and file formats of the originals."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat
from scipy.sparse import csc_matrix

from tests.support.image_folders import UInt8Array, image, mask, save

LABEL_IDS = (0, 3, 7, 11, 23, 26, 33)
"""Two ids that are not scored, then road, building, sky, car and bicycle."""
TRAIN_CITIES = ("aachen", "bochum")
OWN = ("2007_000032", "2007_000039")
EXTRA = ("2008_000008", "2008_000015")
VAL = ("2007_000033", "2007_000042")
"""VOC's own training images, those that only SBD labels, and VOC's validation images."""


def write_cityscapes(root: Path, per_city: int = 2, size_px: tuple[int, int] = (64, 128)) -> Path:
    """`root/cityscapes`: two cities to train on, one for validation, polygons and colours beside
    the labelIds."""
    folder = root / "cityscapes"
    for subset, cities in (("train", TRAIN_CITIES), ("val", ("frankfurt",))):
        for number, city in enumerate(cities):
            for i in range(per_city):
                write_street(
                    folder, subset, f"{city}/{city}_{i:06d}_000019", 10 * number + i, size_px
                )
    return folder


def write_street(
    folder: Path, subset: str, name: str, seed: int, size_px: tuple[int, int] = (64, 128)
) -> None:
    """Image, labelIds and the files that come with them."""
    save(image(seed, *size_px), folder / "leftImg8bit" / subset / f"{name}_leftImg8bit.png")
    masks = folder / "gtFine" / subset
    save(mask(seed, LABEL_IDS, *size_px), masks / f"{name}_gtFine_labelIds.png")
    save(image(seed, *size_px), masks / f"{name}_gtFine_color.png")
    (masks / f"{name}_gtFine_polygons.json").write_text("{}")


def write_voc(root: Path, sbd: str = "mat", size_px: tuple[int, int] = (40, 56)) -> Path:
    """`root/VOCdevkit/VOC2012`; the masks of SBD as `mat` or `png` (SegmentationClassAug), or
    `none`."""
    folder = root / "VOCdevkit" / "VOC2012"
    for i, name in enumerate((*OWN, *EXTRA, *VAL)):
        picture = image(i, *_size_of(i, size_px))
        (folder / "JPEGImages").mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / "JPEGImages" / f"{name}.jpg", quality=95)
        label = mask(i, (0, 5, 20, 255), *picture.shape[:2])
        if name not in EXTRA:
            _save_palette(label, folder / "SegmentationClass" / f"{name}.png")
        if sbd == "png":
            save(label, folder / "SegmentationClassAug" / f"{name}.png")
    if sbd == "mat":
        write_mats(root, size_px)
    _write_list(folder, "train", OWN)
    _write_list(folder, "val", VAL)
    return folder


def _size_of(number: int, size_px: tuple[int, int]) -> tuple[int, int]:
    """VOC's images differ in size."""
    return size_px[0], size_px[1] - 8 * (number % 2)


def write_mats(root: Path, size_px: tuple[int, int] = (40, 56)) -> None:
    """`root/SBD` as its archive unpacks. SBD labels some of VOC's own images too, validation images
    among them."""
    for i, name in enumerate((*OWN, *EXTRA, *VAL)):
        label = mask(i, (0, 5, 20, 255), *_size_of(i, size_px))
        write_mat(
            np.where(label == 255, 0, label),
            root / "SBD/benchmark_RELEASE/dataset/cls" / f"{name}.mat",
        )


def write_mat(label: UInt8Array, path: Path) -> None:
    """SBD's struct: GTcls with Segmentation, Boundaries and CategoriesPresent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    boundaries = np.empty((20, 1), object)
    boundaries[:, 0] = [csc_matrix(label == number) for number in range(1, 21)]
    fields = {
        "Boundaries": boundaries,
        "Segmentation": label,
        "CategoriesPresent": np.unique(label[label > 0]),
    }
    savemat(path, {"GTcls": fields}, do_compression=True)


def _save_palette(label: UInt8Array, path: Path) -> None:
    """As VOC's own: palette PNG whose indices are the classes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(label)
    picture.putpalette(np.random.default_rng(0).integers(0, 255, 768, dtype=np.uint8).tobytes())
    picture.save(path)


def _write_list(folder: Path, subset: str, names: Sequence[str]) -> None:
    file = folder / "ImageSets" / "Segmentation" / f"{subset}.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{name}\n" for name in names))
