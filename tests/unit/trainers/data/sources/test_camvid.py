"""CamVid in the SegNet layout: PNG or JPEG images, class 11 is void, clear errors for a wrong
root."""

from pathlib import Path

import numpy as np
import pytest

from rml_trainers.data import build_dataset
from rml_trainers.data.sources.camvid import CAMVID_CLASSES, CamvidConfig, CamvidDataset
from rml_trainers.errors import DataError
from tests.support.image_folders import image, mask, real_root, write_camvid


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_images_of_both_formats_are_read_and_void_becomes_255(tmp_path: Path, suffix: str) -> None:
    write_camvid(tmp_path, suffix=suffix)
    dataset = build_dataset(CamvidConfig(size_px=(40, 56)), tmp_path)
    assert dataset.names("train") == ("train_000", "train_001", "train_002", "train_003")
    assert dataset.names("val") == ("val_000", "val_001")
    raw = dataset.read("train", "train_002")
    assert np.abs(raw.image.astype(int) - image(2)).mean() < (1e-9 if suffix == ".png" else 8)
    assert raw.label is not None
    assert np.array_equal(
        raw.label, np.where(mask(2, (0, 3, 8, 11)) == 11, 255, mask(2, (0, 3, 8, 11)))
    )


def test_without_a_data_root_the_error_says_how_to_give_one() -> None:
    with pytest.raises(
        DataError, match=r"--data-root DIR or set RML_DATA to a folder with\n.*camvid/train"
    ):
        CamvidDataset(CamvidConfig(), None)


@pytest.mark.parametrize("gone", ["train", "trainannot", "val", "valannot"])
def test_a_missing_folder_is_named_with_the_expected_layout(tmp_path: Path, gone: str) -> None:
    folder = write_camvid(tmp_path)
    (folder / gone).rename(tmp_path / "elsewhere")
    with pytest.raises(
        DataError, match=rf"camvid/{gone}: no such folder[\s\S]*trainannot, camvid/valannot"
    ):
        CamvidDataset(CamvidConfig(), tmp_path)


def test_an_empty_folder_and_two_images_of_one_name_are_refused(tmp_path: Path) -> None:
    folder = write_camvid(tmp_path)
    (folder / "train" / "train_001.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"same name: train_001.jpg and train_001.png"):
        CamvidDataset(CamvidConfig(), tmp_path).names("train")
    for path in (folder / "train").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="train: no images"):
        CamvidDataset(CamvidConfig(), tmp_path).names("val")


def test_the_fingerprint_follows_the_files_and_not_their_place(tmp_path: Path) -> None:
    for place in ("here", "there"):
        write_camvid(tmp_path / place)
    here, there = (
        CamvidDataset(CamvidConfig(), tmp_path / place).fingerprint() for place in ("here", "there")
    )
    assert here == there
    (tmp_path / "there" / "camvid" / "valannot" / "val_000.png").write_bytes(b"another size")
    assert CamvidDataset(CamvidConfig(), tmp_path / "there").fingerprint() != here


@pytest.mark.real_data
def test_the_real_images_are_complete() -> None:
    if not (real_root() / "camvid").is_dir():
        pytest.skip(
            "needs the real CamVid: RML_DATA names a folder without camvid/ (SegNet layout, see "
            "docs/data.md)"
        )
    dataset = CamvidDataset(CamvidConfig(), real_root())
    assert (len(dataset.names("train")), len(dataset.names("val"))) == (367, 101)
    raw = dataset.read("train", dataset.names("train")[0])
    assert raw.image.shape == (360, 480, 3)
    assert raw.label is not None
    assert set(np.unique(raw.label)) <= {*range(len(CAMVID_CLASSES)), 255}
