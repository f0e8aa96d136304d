"""Anybody's folders: unlabelled images need no mask, lists are optional, mistakes are named."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rml_trainers.data.sources.folder import FolderConfig, FolderDataset
from rml_trainers.errors import DataError
from tests.support.image_folders import image, mask, save, write_folder


def _config(**changes: Any) -> FolderConfig:
    values: dict[str, Any] = {
        "folder": "own",
        "class_names": ("road", "car", "tree"),
        "size_px": (40, 56),
    }
    return FolderConfig(**(values | changes))


def test_images_without_a_mask_are_training_images_without_label(tmp_path: Path) -> None:
    write_folder(tmp_path)
    dataset = FolderDataset(_config(), tmp_path)
    assert dataset.names_without_label() == ("b0", "b1", "b2")
    assert dataset.read("train", "b1").label is None
    labelled = dataset.read(
        "train", next(name for name in dataset.names("train") if name.startswith("a"))
    )
    assert labelled.label is not None


def test_the_default_validation_images_are_held_out_by_hash_and_stay_when_others_come(
    tmp_path: Path,
) -> None:
    folder = write_folder(tmp_path, num_labelled=20)
    before = FolderDataset(_config(val_fraction=0.25), tmp_path)
    assert len(before.names("val")) == 5
    assert not set(before.names("val")) & set(before.names("train"))
    assert set(before.names("val")) | set(before.names("train")) == {f"a{i}" for i in range(20)} | {
        "b0",
        "b1",
        "b2",
    }
    save(image(5), folder / "images" / "b9.png")
    assert FolderDataset(_config(val_fraction=0.25), tmp_path).names("val") == before.names("val")


def test_lists_choose_the_subsets(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    (folder / "train.txt").write_text("a0\nb0\n")
    (folder / "val.txt").write_text("a5\na4\n")
    both = FolderDataset(_config(train_list="train.txt", val_list="val.txt"), tmp_path)
    assert (both.names("train"), both.names("val")) == (("a0", "b0"), ("a4", "a5"))
    rest_trains = FolderDataset(_config(val_list="val.txt"), tmp_path)
    assert rest_trains.names("train") == ("a0", "a1", "a2", "a3", "b0", "b1", "b2")
    rest_validates = FolderDataset(_config(train_list="train.txt"), tmp_path)
    assert rest_validates.names("val") == ("a1", "a2", "a3", "a4", "a5")


@pytest.mark.parametrize(
    ("train", "val", "message"),
    [
        ("a0\na1\n", "a1\na2\n", "for training and for validation at once: a1"),
        ("a0\n", "a1\nb0\n", "validation images without a mask: b0"),
        ("zz.jpg\n", "a1\n", r"train.txt: not in the images: zz.jpg"),
        ("a0\n", "", "no val images left"),
    ],
)
def test_wrong_lists_are_refused_by_name(
    tmp_path: Path, train: str, val: str, message: str
) -> None:
    folder = write_folder(tmp_path)
    (folder / "train.txt").write_text(train)
    (folder / "val.txt").write_text(val)
    with pytest.raises(DataError, match=message):
        FolderDataset(_config(train_list="train.txt", val_list="val.txt"), tmp_path).names("train")


def test_a_missing_list_or_folder_is_named(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    with pytest.raises(DataError, match=r"data.val_list: .*nowhere.txt: no such file"):
        FolderDataset(_config(val_list="nowhere.txt"), tmp_path).names("val")
    (folder / "masks").rename(folder / "labels")
    with pytest.raises(DataError, match="own/masks: no such folder"):
        FolderDataset(_config(), tmp_path)
    assert FolderDataset(_config(masks="labels"), tmp_path).names("val")


def test_masks_whose_names_do_not_match_are_refused_with_an_example(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    (folder / "masks" / "a2.png").rename(folder / "masks" / "a2_mask.png")
    with pytest.raises(
        DataError, match=r"without an image of the same name: a2_mask \(an image is called 'a0'\)"
    ):
        FolderDataset(_config(), tmp_path).names("train")


def test_sub_folders_are_part_of_the_name(tmp_path: Path) -> None:
    for city in ("aachen", "bonn"):
        save(image(1), tmp_path / "own" / "images" / city / "0001.png")
        save(mask(1, (0, 1)), tmp_path / "own" / "masks" / city / "0001.png")
    dataset = FolderDataset(_config(val_fraction=0.5), tmp_path)
    assert sorted(dataset.names("train") + dataset.names("val")) == ["aachen/0001", "bonn/0001"]


def test_palette_masks_and_an_ignore_value_of_ones_own(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    numbers = mask(7, (0, 1, 2, 9))
    picture = Image.fromarray(numbers).convert("P")
    picture.putdata(numbers.ravel().tolist())
    picture.save(folder / "masks" / "a0.png")
    (folder / "train.txt").write_text("a0\n")
    label = (
        FolderDataset(_config(ignore_value=9, train_list="train.txt"), tmp_path)
        .read("train", "a0")
        .label
    )
    assert label is not None
    assert np.array_equal(label, np.where(numbers == 9, 255, numbers))


def test_the_ignore_value_may_be_a_number_below_the_classes(tmp_path: Path) -> None:
    """A data set that marks void as 0 has its classes from 0 on all the same: 0 is then void and
    never class 0."""
    write_folder(tmp_path)
    dataset = FolderDataset(_config(ignore_value=0), tmp_path)
    name = next(name for name in dataset.names("train") if name.startswith("a"))
    label = dataset.read("train", name).label
    assert label is not None
    assert set(np.unique(label)) == {1, 2, 255}


def test_zero_images_with_a_mask_leave_nothing_to_validate(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, num_labelled=0)
    (folder / "masks").mkdir()
    with pytest.raises(DataError, match="no val images left; 0 images have a mask"):
        FolderDataset(_config(), tmp_path).names("train")
