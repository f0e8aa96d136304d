"""COCO annotations: polygons and run lengths become classes, small objects over large ones."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rml_trainers.data import build_dataset
from rml_trainers.data.sources.folder import FolderConfig
from rml_trainers.data.sources.pairs import PairsConfig
from rml_trainers.errors import ConfigError, DataError
from tests.support.image_folders import image, save
from tests.support.own_data.own_layouts import OWN_LAYOUTS, coco_content
from tests.support.own_data.picture_files import save_turned


def _config(**changes: Any) -> FolderConfig:
    values: dict[str, Any] = {"annotations": ("annotations/instances.json",), "size_px": (40, 56)}
    return FolderConfig(folder="own", **(values | changes))


def _write(root: Path, content: object) -> None:
    (root / "own" / "annotations").mkdir(parents=True, exist_ok=True)
    (root / "own" / "annotations" / "instances.json").write_text(json.dumps(content))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "own").mkdir()
    OWN_LAYOUTS["coco"].write(tmp_path / "own")
    return tmp_path


def _label(root: Path, name: str = "001", **changes: Any) -> Any:
    dataset = build_dataset(_config(**changes), root)
    label = dataset.read("train", name).label
    assert label is not None
    return label


def test_the_car_lies_on_the_road_though_the_file_has_it_first(root: Path) -> None:
    label = _label(root)
    assert build_dataset(_config(), root).class_names == ("background", "road", "car")
    wanted = np.zeros((40, 56), np.uint8)
    wanted[20:] = 1
    wanted[24:32, 8:16] = 2
    assert np.array_equal(label, wanted)


def test_class_names_choose_and_order_and_the_background_may_be_ignored(root: Path) -> None:
    label = _label(root, class_names=("car", "road"), background=None)
    assert sorted(np.unique(label).tolist()) == [0, 1, 255]
    assert label[28, 10] == 0 and label[38, 50] == 1 and label[0, 0] == 255
    only = _label(root, class_names=("background", "car"))
    assert only[38, 50] == 255, "a category that was left out is ignored, not background"
    with pytest.raises(ConfigError, match=r"data.class_names: tree: neither a category of .*road"):
        _label(root, class_names=("background", "tree"))


@pytest.mark.parametrize("compressed", [False, True])
def test_run_lengths_are_read(root: Path, compressed: bool) -> None:
    from pycocotools import mask as tools

    region = np.zeros((40, 56), np.uint8)
    region[3:9, 5:20] = 1
    if compressed:
        coded = tools.encode(np.asfortranarray(region))
        segmentation = {"size": coded["size"], "counts": coded["counts"].decode()}
    else:
        flat = region.ravel(order="F")
        runs = np.diff(np.flatnonzero(np.diff(np.concatenate([[2], flat, [2]]))))
        counts = [0, *runs.tolist()] if flat[0] else runs.tolist()
        segmentation = {"size": [40, 56], "counts": counts}
    content: dict[str, Any] = coco_content()
    one = {"id": 1, "image_id": 1, "category_id": 7, "segmentation": segmentation, "iscrowd": 1}
    content["annotations"] = [one]
    _write(root, content)
    assert np.array_equal(_label(root), 2 * region)


def test_images_that_are_not_listed_are_unlabelled_and_empty_ones_background(root: Path) -> None:
    content: dict[str, Any] = coco_content()
    content["annotations"] = [one for one in content["annotations"] if one["image_id"] != 1]
    _write(root, content)
    save(image(50), root / "own" / "images" / "more.jpg")
    dataset = build_dataset(_config(), root)
    assert dataset.names_without_label() == ("more",)
    assert not _label(root).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": [{"id": 1}]}, "an entry of images has no file_name, height, width"),
        ({"categories": 3}, "not a COCO file of objects"),
        ({"categories": [{"id": 3, "name": "road"}]}, "is of category 7, which the file does not"),
        ({"images": [{"id": 1, "file_name": "x.jpg", "height": 1, "width": 1}]}, "no image of"),
    ],
)
def test_wrong_files_are_refused_by_name(root: Path, change: dict[str, Any], message: str) -> None:
    _write(root, coco_content() | change)
    with pytest.raises(DataError, match=rf"instances.json.*{message}"):
        build_dataset(_config(), root).names("train")


def test_an_image_of_another_size_and_a_region_without_shape_are_named(root: Path) -> None:
    content: dict[str, Any] = coco_content()
    content["annotations"][2]["segmentation"] = None
    content["images"][2]["height"] = 41
    _write(root, content)
    with pytest.raises(DataError, match=r"annotation 3 of .*001.jpg cannot be drawn"):
        _label(root)
    with pytest.raises(DataError, match=r"002.jpg is 41×56 there, the image is 40×56"):
        _label(root, "002", train_names="*", val_names="000")


def test_annotations_are_of_the_upright_image(root: Path) -> None:
    save_turned(image(1, 56, 40), root / "own" / "images" / "001.jpg", 6)
    assert np.array_equal(_label(root), _label(root, "003"))


def test_of_two_images_with_one_ending_neither_is_guessed(root: Path) -> None:
    save(image(50), root / "own" / "images" / "b" / "001.jpg")
    with pytest.raises(DataError, match="write the folder into file_name"):
        build_dataset(_config(), root).names("train")


def test_without_pycocotools_the_error_says_what_to_install(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(DataError, match="pip install pycocotools"):
        _label(root)


def test_masks_and_annotations_exclude_each_other() -> None:
    with pytest.raises(ValueError, match=r"class_file = 'x.json': expected none: annotations name"):
        _config(class_file="x.json")


def test_a_table_says_which_images_and_annotations_what_they_show(root: Path) -> None:
    rows = ["image,subset", "images/001.jpg,train", "images/002.jpg,val"]
    (root / "own" / "pairs.csv").write_text("\n".join(rows))
    config = PairsConfig(
        folder="own", annotations=("annotations/instances.json",), size_px=(40, 56)
    )
    dataset = build_dataset(config, root)
    assert dataset.class_names == ("background", "road", "car")
    assert dataset.names("train") == ("images/001",) and dataset.names("val") == ("images/002",)
    label = dataset.read("train", "images/001").label
    assert label is not None and np.array_equal(label, _label(root))
