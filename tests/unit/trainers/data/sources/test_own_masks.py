"""`folder` and `pairs`: masks as people have them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rml_trainers.data import build_dataset
from rml_trainers.data.masks.label_tables import LabelColours, LabelValues
from rml_trainers.data.sources.folder import FolderConfig
from rml_trainers.data.sources.pairs import PairsConfig
from rml_trainers.errors import ConfigError, DataError
from tests.support.image_folders import image, mask, save, write_folder, write_pairs
from tests.support.own_data.own_layouts import OWN_LAYOUTS, colours, numbers

CLASSES = ("background", "road", "car")


def _folder(**changes: Any) -> FolderConfig:
    values: dict[str, Any] = {"folder": "own", "class_names": CLASSES, "size_px": None}
    return FolderConfig(**(values | changes))


def _pairs(**changes: Any) -> PairsConfig:
    values: dict[str, Any] = {"folder": "own", "class_names": CLASSES, "size_px": None}
    return PairsConfig(**(values | changes))


def _layout(name: str, root: Path) -> None:
    (root / "own").mkdir()
    OWN_LAYOUTS[name].write(root / "own")


@pytest.mark.parametrize(
    ("layout", "settings", "example"),
    [
        (
            "names_that_end_in_mask",
            {"images": "photos", "masks": "truth", "mask_name": "{stem}_mask.png"},
            "street 1",
        ),
        ("one_folder", {"images": ".", "masks": ".", "mask_name": "{stem}_seg.png"}, "img1"),
        (
            "same_names_in_one_folder",
            {"images": ".", "masks": ".", "image_name": "{stem}.jpg", "mask_name": "{stem}.png"},
            "0001",
        ),
        (
            "subset_folders",
            {
                "images": ".",
                "masks": ".",
                "image_name": "{folder}/images/{stem}",
                "mask_name": "{folder}/labels/{stem}",
                "train_names": "train/*",
                "val_names": "val/*",
            },
            "train/1",
        ),
        (
            "several_kinds_of_masks",
            {
                "images": "leftImg",
                "masks": "gt",
                "image_name": "{stem}_leftImg.png",
                "mask_name": "{stem}_gt_labelIds.png",
            },
            "bonn/bonn_001",
        ),
    ],
)
def test_names_of_masks_follow_a_template(
    layout: str, settings: dict[str, Any], example: str, tmp_path: Path
) -> None:
    _layout(layout, tmp_path)
    dataset = build_dataset(_folder(**settings), tmp_path)
    names = dataset.names("train") + dataset.names("val")
    assert len(names) == 6
    assert example in names
    label = dataset.read("train", example).label
    assert label is not None
    assert np.array_equal(label, numbers(1))


def test_files_of_another_name_are_counted_and_the_test_images_left_out(tmp_path: Path) -> None:
    _layout("several_kinds_of_masks", tmp_path)
    config = _folder(
        images="leftImg",
        masks="gt",
        image_name="{stem}_leftImg",
        mask_name="{stem}_gt_labelIds",
        train_names="ulm/*",
        val_names="bonn/bonn_001",
    )
    dataset = build_dataset(config, tmp_path)
    assert dataset.names("val") == ("bonn/bonn_001",)
    reasons = dataset.sources().skipped.reasons
    assert reasons["another name than the template"] == (6, "gt/bonn/bonn_001_gt_color.png")
    assert reasons["in neither subset"] == (2, "bonn/bonn_003")


def test_a_pattern_that_fits_nothing_is_refused_with_an_example(tmp_path: Path) -> None:
    write_folder(tmp_path)
    with pytest.raises(DataError, match=r"data.val_names = 'val/\*' fits no image; one is .*a0"):
        build_dataset(_folder(val_names="val/*"), tmp_path).names("train")
    with pytest.raises(ValueError, match=r"val_names = 'b': expected none where val_list is given"):
        _folder(val_names="b", val_list="a")


def test_orphans_suggest_the_template_that_would_fit(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    for path in (folder / "masks").iterdir():
        path.rename(path.with_name(f"{path.stem}_gt.png"))
    with pytest.raises(DataError, match=r'data.mask_name: "\{stem\}_gt" would fit 6 of them'):
        build_dataset(_folder(), tmp_path).names("train")


def _images_and(root: Path, label_of: Any, num: int = 4) -> None:
    for i in range(num):
        save(image(i), root / "own" / "images" / f"a{i}.png")
        save(label_of(numbers(i)), root / "own" / "masks" / f"a{i}.png")


@pytest.mark.parametrize(
    ("label_of", "settings"),
    [
        (lambda k: np.asarray([0, 9, 255], np.uint8)[k], {"values": {"0": 0, "9": 1, "255": 2}}),
        (
            lambda k: np.asarray([5, 300, 65535], np.uint16)[k],
            {"values": {"5": 0, "300": "road", "65535": "car"}},
        ),
        (colours, {"colours": {"0,0,0": 0, "128,64,128": 1, "250,170,30": 2}}),
        (lambda k: k, {}),
        (lambda k: np.repeat(k[..., None], 3, axis=2), {}),
    ],
)
def test_values_and_colours_become_classes(
    label_of: Any, settings: dict[str, Any], tmp_path: Path
) -> None:
    _images_and(tmp_path, label_of)
    config = _folder(
        label_values=LabelValues.parse(settings["values"]) if "values" in settings else None,
        label_colours=LabelColours.parse(settings["colours"]) if "colours" in settings else None,
    )
    dataset = build_dataset(config, tmp_path)
    for subset in ("train", "val"):
        for name in dataset.names(subset):
            label = dataset.read(subset, name).label
            assert label is not None
            assert np.array_equal(label, numbers(int(name[1:])))


def test_binary_masks_in_one_line(tmp_path: Path) -> None:
    _images_and(tmp_path, lambda k: np.where(k > 0, np.uint8(255), np.uint8(0)))
    config = _folder(class_names=("bg", "fg"), label_values=LabelValues.parse("binary"))
    dataset = build_dataset(config, tmp_path)
    name = dataset.names("train")[0]
    label = dataset.read("train", name).label
    assert label is not None
    assert np.array_equal(label, numbers(int(name[1:])) > 0)


def test_what_is_not_listed_is_an_error_or_ignored(tmp_path: Path) -> None:
    _images_and(tmp_path, lambda k: k)
    table = LabelValues.parse({"0": 0, "1": "road"})
    strict = build_dataset(_folder(label_values=table), tmp_path)
    with pytest.raises(DataError, match=r"a\d.png: label value 2 is no class"):
        strict.read("train", strict.names("train")[0])
    lenient = build_dataset(_folder(label_values=table, unlisted_labels="ignore"), tmp_path)
    label = lenient.read("train", lenient.names("train")[0]).label
    assert label is not None
    assert set(np.unique(label)) == {0, 1, 255}


def test_classes_from_a_file_and_a_table_that_goes_before_it(tmp_path: Path) -> None:
    _layout("cvat_export", tmp_path)
    settings: dict[str, Any] = {"images": "JPEGImages", "masks": "SegmentationClass"}
    config = _folder(class_names=(), class_file="labelmap.txt", **settings)
    dataset = build_dataset(config, tmp_path)
    assert dataset.class_names == CLASSES
    name = dataset.names("train")[0]
    label = dataset.read("train", name).label
    assert label is not None
    assert np.array_equal(label, numbers(int(name[-1])))
    assert "file/labelmap.txt" in dataset.sources().files
    table = LabelColours.parse({"0,0,0": "ignore", "128,64,128": 1, "250,170,30": 2})
    other = build_dataset(
        _folder(class_names=(), class_file="labelmap.txt", label_colours=table, **settings),
        tmp_path,
    )
    label = other.read("train", name).label
    assert label is not None
    assert set(np.unique(label)) == {1, 2, 255}
    wrong = LabelColours.parse({"0,0,0": "sky"})
    dataset = build_dataset(
        _folder(class_names=(), class_file="labelmap.txt", label_colours=wrong, **settings),
        tmp_path,
    )
    with pytest.raises(ConfigError, match="no class 'sky'"):
        dataset.read("train", name)


@pytest.mark.parametrize("given", [{}, {"class_names": CLASSES, "class_file": "x.json"}])
def test_classes_are_told_exactly_once(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"class_names = .*exactly one of the two"):
        FolderConfig(folder="own", size_px=None, **given)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("header", [True, False])
def test_a_table_pairs_images_and_masks(delimiter: str, header: bool, tmp_path: Path) -> None:
    folder = write_pairs(tmp_path)
    lines = (folder / "pairs.csv").read_text().splitlines()[0 if header else 1 :]
    (folder / "pairs.csv").write_text("\n".join(lines).replace(",", delimiter), encoding="utf-16")
    dataset = build_dataset(_pairs(), tmp_path)
    assert dataset.names_without_label() == ("more/b0", "more/b1", "more/b2")
    label = dataset.read("train", "day1/photo 1").label
    assert label is not None
    assert np.array_equal(label, mask(1, (0, 1, 2)))


def test_a_table_may_say_the_subset_and_leave_images_out(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path)
    rows = ["split_by,Mask,image,subset", "me,truth/number100.png,day0/photo 0.jpg,Train"]
    rows += ["me,truth/number99.png,day1/photo 1.jpg,valid", "me,,more/b0.png,train"]
    rows += ["me,,more/b1.png,test"]
    (folder / "pairs.csv").write_text("\n".join(rows))
    dataset = build_dataset(_pairs(), tmp_path)
    assert dataset.names("train") == ("day0/photo 0", "more/b0")
    assert dataset.names("val") == ("day1/photo 1",)
    reasons = dataset.sources().skipped.reasons
    assert reasons == {"of another subset in the table": (1, "more/b1.png")}


def test_a_table_of_images_may_find_its_masks_by_a_template(tmp_path: Path) -> None:
    _layout("subset_folders", tmp_path)
    (tmp_path / "own" / "pairs.csv").write_text(
        "\n".join(f"train/images/{i}.tif" for i in range(4)) + "\ntest/images/7.tif\n"
    )
    (tmp_path / "own" / "test" / "labels" / "7.png").unlink()
    dataset = build_dataset(_pairs(mask_name="{folder}/../labels/{stem}.png"), tmp_path)
    assert dataset.names_without_label() == ("test/images/7",)
    assert len(dataset.names("val")) == 1


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", "the table is empty"),
        ("image,mask\n", "no line with an image"),
        ("day0/photo 0.jpg,gone.png\ngone.jpg,", r"2 files are not below .*: gone.jpg, gone.png"),
        ("more/b0.png\nmore/b0.png\n", "images that come twice: more/b0"),
        ("/etc/x.png,", "expected a path below"),
        ("../x.png,", "expected a path below"),
        ("image,mask,subset\nmore/b0.png,,trian", "subset 'trian'; expected train or val"),
        ("image,mask,subset\nmore/b0.png,,train\nmore/b1.png,,", "without a subset: more/b1"),
        (",truth/number99.png", "names no image"),
    ],
)
def test_a_wrong_table_is_refused_by_line(table: str, message: str, tmp_path: Path) -> None:
    folder = write_pairs(tmp_path)
    (folder / "pairs.csv").write_text(table)
    with pytest.raises(DataError, match=rf"pairs.csv: .*{message}|pairs.csv: {message}"):
        build_dataset(_pairs(), tmp_path).names("train")


def test_deep_grey_images_need_their_range(tmp_path: Path) -> None:
    for i in range(3):
        deep = np.linspace(0, 4095, 40 * 56).reshape(40, 56).astype(np.uint16)
        save(deep, tmp_path / "own" / "images" / f"a{i}.png")  # type: ignore[arg-type]
        save(numbers(i), tmp_path / "own" / "masks" / f"a{i}.png")
    dataset = build_dataset(_folder(), tmp_path)
    with pytest.raises(DataError, match=r"data.grey_range .*from 0 to 4095"):
        dataset.read("train", dataset.names("train")[0])
    ranged = build_dataset(_folder(grey_range=(0, 4095)), tmp_path)
    found = ranged.read("train", ranged.names("train")[0]).image
    assert (int(found.min()), int(found.max())) == (0, 255)
