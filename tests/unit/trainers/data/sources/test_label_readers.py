"""Masks of a set's kind, read away from the set, against what the set itself reads."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from rml_trainers.data import build_dataset, label_reader
from rml_trainers.data.pictures.images import read_image
from rml_trainers.data.sources.camvid import CamvidConfig
from rml_trainers.data.sources.folder import FolderConfig
from rml_trainers.errors import DataError
from rml_trainers.settings.contract import DataConfig
from tests.support.image_folders import image, mask, save, write_camvid, write_folder

OWN = FolderConfig(folder="own", class_names=("bg", "red", "green"), size_px=(40, 56))
CAMVID = CamvidConfig(size_px=(40, 56))


@pytest.mark.parametrize(
    ("config", "images", "masks"),
    [(OWN, "own/images", "own/masks"), (CAMVID, "camvid/train", "camvid/trainannot")],
)
def test_a_mask_means_the_same_wherever_it_lies(
    tmp_path: Path, config: DataConfig, images: str, masks: str
) -> None:
    root = tmp_path / "data"
    write_folder(root)
    write_camvid(root)
    dataset = build_dataset(config, root)
    read = label_reader(config, dataset.class_names, root)
    for name in dataset.names("train"):
        expected = dataset.read("train", name).label
        if expected is None:
            continue
        elsewhere = tmp_path / "elsewhere.png"
        shutil.copyfile(root / masks / f"{name}.png", elsewhere)
        (file,) = (root / images).glob(f"{name}.*")
        label, _ = read(elsewhere, read_image(file))
        assert np.array_equal(label, expected)


def test_a_mask_that_does_not_fit_is_named(tmp_path: Path) -> None:
    save(image(0), tmp_path / "a.png")
    save(mask(0, (0, 7)), tmp_path / "strange.png")
    save(mask(0, (0, 1), 32, 48), tmp_path / "small.png")
    read = label_reader(OWN, OWN.class_names, None)
    for name in ("strange.png", "small.png"):
        with pytest.raises(DataError, match=name):
            read(tmp_path / name, read_image(tmp_path / "a.png"))
