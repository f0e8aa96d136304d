"""Folders of images and masks as strangers have them, one function for each layout."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tests.support.image_folders import UInt8Array, image, mask, save

NUM_IMAGES = 6
COLOURS = ((0, 0, 0), (128, 64, 128), (250, 170, 30))


@dataclass(frozen=True)
class Layout:
    """What is written, and what must come out of it."""

    write: Callable[[Path], None]
    """Writes below a folder."""
    num_labelled: int = NUM_IMAGES
    class_names: tuple[str, ...] = ("class_0", "class_1", "class_2")
    num_train: int | None = None
    """Training images, where the layout says which they are."""


def numbers(i: int) -> UInt8Array:
    """Mask [40, 56] of classes 0, 1, 2."""
    return mask(i, (0, 1, 2))


def colours(label: UInt8Array) -> UInt8Array:
    return np.asarray(COLOURS, np.uint8)[label]


def save_palette(label: UInt8Array, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(label, "L").convert("P")
    picture.putpalette([channel for colour in COLOURS for channel in colour])
    picture.putdata(label.ravel().tolist())
    picture.save(path)


def _two_folders(root: Path) -> None:
    for i in range(NUM_IMAGES):
        save(image(i), root / "images" / f"a{i}.jpg")
        save(numbers(i), root / "masks" / f"a{i}.png")
    (root / "images" / "notes.txt").write_text("taken in May")
    (root / "images" / ".DS_Store").write_bytes(b"\0")


def _names_that_end_in_mask(root: Path) -> None:
    for i in range(NUM_IMAGES):
        save(image(i), root / "photos" / f"street {i}.jpg")
        save(numbers(i), root / "truth" / f"street {i}_mask.png")


def _one_folder(root: Path) -> None:
    for i in range(NUM_IMAGES):
        save(image(i), root / f"img{i}.png")
        save(numbers(i), root / f"img{i}_seg.png")


def _same_names_in_one_folder(root: Path) -> None:
    for i in range(NUM_IMAGES):
        save(image(i), root / f"{i:04d}.jpg")
        save(numbers(i), root / f"{i:04d}.png")


def _subset_folders(root: Path) -> None:
    for subset, indices in (("train", range(4)), ("val", range(4, 6)), ("test", range(6, 8))):
        for i in indices:
            save(image(i), root / subset / "images" / f"{i}.tif")
            save(numbers(i), root / subset / "labels" / f"{i}.png")


def _subsets_inside(root: Path) -> None:
    for subset, indices in (("train", range(4)), ("val", range(4, 6))):
        for i in indices:
            save(image(i), root / "img_dir" / subset / f"{i}.png")
            save(numbers(i), root / "ann_dir" / subset / f"{i}.png")


def _other_endings(root: Path) -> None:
    """As DRIVE: 21_training.tif and 21_manual1.gif."""
    for i in range(NUM_IMAGES):
        save(image(i), root / "images" / f"{21 + i}_training.tif")
        binary = np.where(numbers(i) > 0, np.uint8(255), np.uint8(0))
        save(binary, root / "1st_manual" / f"{21 + i}_manual1.gif")


def _prefixes(root: Path) -> None:
    for i in range(NUM_IMAGES):
        save(image(i), root / "rgb" / f"rgb_{i:03d}.png")
        save(numbers(i), root / "gt" / f"gt_{i:03d}.png")


def _several_kinds_of_masks(root: Path) -> None:
    """As Cityscapes: numbers and colours beside each other."""
    for i in range(NUM_IMAGES):
        city = ("ulm", "bonn")[i % 2]
        save(image(i), root / "leftImg" / city / f"{city}_{i:03d}_leftImg.png")
        save(numbers(i), root / "gt" / city / f"{city}_{i:03d}_gt_labelIds.png")
        save(colours(numbers(i)), root / "gt" / city / f"{city}_{i:03d}_gt_color.png")


def _binary(root: Path) -> None:
    for i in range(NUM_IMAGES):
        save(image(i), root / "images" / f"a{i}.jpg")
        save(np.where(numbers(i) > 1, np.uint8(255), np.uint8(0)), root / "masks" / f"a{i}.png")


def _one_bit(root: Path) -> None:
    for i in range(NUM_IMAGES):
        save(image(i), root / "images" / f"a{i}.jpg")
        (root / "masks").mkdir(exist_ok=True)
        Image.fromarray(numbers(i) > 1).save(root / "masks" / f"a{i}.png")


def _in_colour(root: Path) -> None:
    for i in range(NUM_IMAGES):
        save(image(i), root / "images" / f"a{i}.jpg")
        save(colours(numbers(i)), root / "masks" / f"a{i}.png")


def _sparse_values(root: Path) -> None:
    for i in range(NUM_IMAGES):
        save(image(i), root / "images" / f"a{i}.jpg")
        values = np.asarray([7, 26, 255], np.uint8)[numbers(i)]
        save(values, root / "masks" / f"a{i}.png")


def _sixteen_bits(root: Path) -> None:
    for i in range(NUM_IMAGES):
        save(image(i), root / "images" / f"a{i}.jpg")
        values = np.asarray([0, 1000, 40000], np.uint16)[numbers(i)]
        (root / "masks").mkdir(exist_ok=True)
        Image.fromarray(values).save(root / "masks" / f"a{i}.png")


def _cvat_export(root: Path) -> None:
    """CVAT's Segmentation mask 1.1: a labelmap, RGB masks, a list that is no subset."""
    lines = ["# label:color_rgb:parts:actions"]
    for name, colour in zip(("background", "road", "car"), COLOURS, strict=True):
        lines.append(f"{name}:{','.join(map(str, colour))}::")
    (root / "ImageSets" / "Segmentation").mkdir(parents=True)
    (root / "labelmap.txt").write_text("\n".join(lines))
    names = [f"frame_{i:06d}" for i in range(NUM_IMAGES)]
    (root / "ImageSets" / "Segmentation" / "default.txt").write_text("\n".join(names))
    for i, name in enumerate(names):
        save(image(i), root / "JPEGImages" / f"{name}.jpg")
        save(colours(numbers(i)), root / "SegmentationClass" / f"{name}.png")


def _labelme_export(root: Path) -> None:
    """labelme2voc: palette masks and class_names.txt."""
    (root / "SegmentationClassPNG").mkdir(parents=True)
    (root / "class_names.txt").write_text("_background_\nroad\ncar\n")
    for i in range(NUM_IMAGES):
        save(image(i), root / "JPEGImages" / f"2011_00000{i}.jpg")
        save_palette(numbers(i), root / "SegmentationClassPNG" / f"2011_00000{i}.png")


def _lists(root: Path) -> None:
    _two_folders(root)
    (root / "train.txt").write_text("\n".join(f"a{i}.jpg" for i in range(4)))
    (root / "val.txt").write_text("\n".join(f"a{i}.jpg" for i in range(4, 6)))


def _table(root: Path) -> None:
    lines = ["image;mask;subset"]
    for i in range(NUM_IMAGES):
        save(image(i), root / f"day{i % 2}" / f"p{i * 7}.png")
        save(numbers(i), root / "t" / f"q{i * 11}.png")
        lines.append(f"day{i % 2}/p{i * 7}.png;t/q{i * 11}.png;{'train' if i < 4 else 'val'}")
    (root / "all.csv").write_text("\n".join(lines))


def coco_content(num_images: int = NUM_IMAGES, first: int = 0) -> dict[str, object]:
    """Every image shows a car (a square) that lies on a road (a large rectangle)."""
    annotations = list[dict[str, object]]()
    for i in range(first, first + num_images):
        road = [0, 20, 56, 20, 56, 40, 0, 40]
        car = [8, 24, 16, 24, 16, 32, 8, 32]
        for category, polygon in ((7, car), (3, road)):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": i,
                    "category_id": category,
                    "segmentation": [polygon],
                    "iscrowd": 0,
                }
            )
    return {
        "images": [
            {"id": i, "file_name": f"{i:03d}.jpg", "height": 40, "width": 56}
            for i in range(first, first + num_images)
        ],
        "annotations": annotations,
        "categories": [{"id": 3, "name": "road"}, {"id": 7, "name": "car"}],
    }


def _coco(root: Path) -> None:
    for i in range(NUM_IMAGES):
        save(image(i), root / "images" / f"{i:03d}.jpg")
    (root / "annotations").mkdir()
    (root / "annotations" / "instances.json").write_text(json.dumps(coco_content()))


def _coco_subsets(root: Path) -> None:
    """As COCO 2017: one folder and one file for each subset."""
    (root / "annotations").mkdir(parents=True)
    for subset, first, count in (("train2017", 0, 4), ("val2017", 4, 2)):
        for i in range(first, first + count):
            save(image(i), root / subset / f"{i:03d}.jpg")
        file = root / "annotations" / f"instances_{subset}.json"
        file.write_text(json.dumps(coco_content(count, first)))


OWN_LAYOUTS: dict[str, Layout] = {
    "two_folders": Layout(_two_folders),
    "names_that_end_in_mask": Layout(_names_that_end_in_mask),
    "one_folder": Layout(_one_folder),
    "same_names_in_one_folder": Layout(_same_names_in_one_folder),
    "subset_folders": Layout(_subset_folders, num_train=4),
    "subsets_inside": Layout(_subsets_inside, num_train=4),
    "other_endings": Layout(_other_endings, class_names=("class_0", "class_1")),
    "prefixes": Layout(_prefixes),
    "several_kinds_of_masks": Layout(_several_kinds_of_masks),
    "binary": Layout(_binary, class_names=("background", "foreground")),
    "one_bit": Layout(_one_bit, class_names=("class_0", "class_1")),
    "in_colour": Layout(
        _in_colour, class_names=("colour_0_0_0", "colour_128_64_128", "colour_250_170_30")
    ),
    "sparse_values": Layout(_sparse_values, class_names=("value_7", "value_26", "value_255")),
    "sixteen_bits": Layout(_sixteen_bits, class_names=("value_0", "value_1000", "value_40000")),
    "cvat_export": Layout(_cvat_export, class_names=("background", "road", "car")),
    "labelme_export": Layout(_labelme_export, class_names=("_background_", "road", "car")),
    "lists": Layout(_lists, num_train=4),
    "table": Layout(_table, num_train=4),
    "coco": Layout(_coco, class_names=("background", "road", "car")),
    "coco_subsets": Layout(_coco_subsets, class_names=("background", "road", "car"), num_train=4),
}
