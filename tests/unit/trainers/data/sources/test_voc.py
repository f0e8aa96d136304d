"""VOC: palette masks with their border, the labels of SBD from PNG or .mat files, and errors that
name the file."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from rml_trainers.data.sources.sbd import read_sbd_mask
from rml_trainers.data.sources.voc import VOC_CLASSES, VocConfig, VocDataset
from rml_trainers.data.splitting.published import published_names
from rml_trainers.errors import DataError
from tests.support.image_folders import UInt8Array, mask
from tests.support.published_trees import EXTRA, OWN, VAL, write_mat, write_voc

AUG = VocConfig(complete=False)
TRAIN = VocConfig(complete=False, train_set="train")
BORDERED = (0, 5, 20, 255)


def _label(dataset: VocDataset, name: str) -> UInt8Array:
    raw = dataset.read("val" if name in VAL else "train", name)
    assert raw.label is not None
    assert raw.label.shape == raw.image.shape[:2]
    return raw.label


@pytest.mark.parametrize("sbd", ["mat", "png", "none"])
def test_its_own_training_set_needs_nothing_of_sbd(tmp_path: Path, sbd: str) -> None:
    write_voc(tmp_path, sbd)
    dataset = VocDataset(TRAIN, tmp_path)
    assert (dataset.names("train"), dataset.names("val")) == (OWN, VAL)
    assert np.array_equal(_label(dataset, OWN[0]), mask(0, BORDERED)), "a palette index is a class"
    assert np.array_equal(_label(dataset, VAL[0]), mask(4, BORDERED))
    assert len(VOC_CLASSES) == 21


def test_sbd_adds_training_images_and_never_touches_validation(tmp_path: Path) -> None:
    write_voc(tmp_path, "mat")
    dataset = VocDataset(AUG, tmp_path)
    assert (dataset.names("train"), dataset.names("val")) == ((*OWN, *EXTRA), VAL)
    extra = mask(2, BORDERED)
    assert np.array_equal(_label(dataset, EXTRA[0]), np.where(extra == 255, 0, extra)), (
        ".mat files have no border"
    )
    assert 255 in _label(dataset, OWN[0]), "where VOC labels an image, its own mask counts"


@pytest.mark.parametrize(
    "place", ["SBD/SegmentationClassAug", "VOCdevkit/VOC2012/SegmentationClassAug"]
)
def test_png_masks_of_sbd_are_found_beside_either(tmp_path: Path, place: str) -> None:
    folder = write_voc(tmp_path, "png")
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (folder / "SegmentationClassAug").rename(tmp_path / place)
    dataset = VocDataset(AUG, tmp_path)
    assert dataset.names("train") == (*OWN, *EXTRA)
    assert np.array_equal(_label(dataset, EXTRA[0]), mask(2, BORDERED))


@pytest.mark.parametrize("place", ["cls", "dataset/cls"])
def test_mat_files_are_found_without_their_outer_folders(tmp_path: Path, place: str) -> None:
    write_voc(tmp_path, "mat")
    (tmp_path / "SBD" / place).parent.mkdir(exist_ok=True)
    (tmp_path / "SBD/benchmark_RELEASE/dataset/cls").rename(tmp_path / "SBD" / place)
    assert VocDataset(AUG, tmp_path).names("train") == (*OWN, *EXTRA)


def test_without_sbd_the_error_says_how_to_go_on(tmp_path: Path) -> None:
    write_voc(tmp_path, "none")
    with pytest.raises(
        DataError, match=r"SBD: no masks of SBD[\s\S]*rml data download voc[\s\S]*train_set: train"
    ):
        VocDataset(AUG, tmp_path).names("train")


@pytest.mark.parametrize("gone", ["JPEGImages", "SegmentationClass", "ImageSets/Segmentation"])
def test_a_missing_folder_is_named_with_the_layout(tmp_path: Path, gone: str) -> None:
    folder = write_voc(tmp_path)
    (folder / gone).rename(tmp_path / "elsewhere")
    with pytest.raises(
        DataError, match=rf"VOC2012/{gone}: no such folder[\s\S]*JPEGImages, SegmentationClass"
    ):
        VocDataset(AUG, tmp_path)


def test_a_missing_list_mask_or_image_is_named(tmp_path: Path) -> None:
    folder = write_voc(tmp_path)
    (folder / "SegmentationClass" / f"{OWN[0]}.png").unlink()
    (folder / "JPEGImages" / f"{EXTRA[1]}.jpg").unlink()
    (folder / "ImageSets" / "Segmentation" / "val.txt").unlink()
    dataset = VocDataset(TRAIN, tmp_path)
    with pytest.raises(DataError, match=r"Segmentation/val.txt: no such file"):
        dataset.names("val")
    with pytest.raises(DataError, match=rf"SegmentationClass/{OWN[0]}.png: mask missing"):
        dataset.read("train", OWN[0])
    with pytest.raises(DataError, match=rf"JPEGImages/{EXTRA[1]}.jpg: image missing"):
        dataset.read("train", EXTRA[1])


def test_a_class_that_voc_does_not_have_is_named(tmp_path: Path) -> None:
    write_voc(tmp_path)
    write_mat(mask(0, (0, 21)), tmp_path / "SBD/benchmark_RELEASE/dataset/cls" / f"{EXTRA[0]}.mat")
    with pytest.raises(
        DataError, match=rf"{EXTRA[0]}.mat: class id 21 out of range; expected 0..20 or 255"
    ):
        VocDataset(AUG, tmp_path).read("train", EXTRA[0])


def test_a_damaged_mat_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "broken.mat"
    write_mat(mask(0, (0, 3)), file)
    whole = file.read_bytes()
    for content in (b"", b"no mat file at all", whole[:100], whole[: len(whole) // 2], whole[:-8]):
        file.write_bytes(content)
        with pytest.raises(DataError, match=r"broken.mat: corrupt or truncated .mat file"):
            read_sbd_mask(file)
    savemat(file, {"other": np.zeros(3)})
    with pytest.raises(DataError, match=r"without GTcls.Segmentation"):
        read_sbd_mask(file)
    savemat(file, {"GTcls": {"Segmentation": np.zeros((4, 4))}})
    with pytest.raises(DataError, match=r"GTcls.Segmentation is float64 \(4, 4\); expected uint8"):
        read_sbd_mask(file)
    with pytest.raises(DataError, match=r"gone\.mat: corrupt"):
        read_sbd_mask(tmp_path / "gone.mat")


def test_the_fingerprint_follows_images_masks_and_mat_files(tmp_path: Path) -> None:
    folder = write_voc(tmp_path)
    fingerprints = [
        VocDataset(AUG, tmp_path).fingerprint(),
        VocDataset(TRAIN, tmp_path).fingerprint(),
    ]
    for path in (
        folder / "JPEGImages" / f"{VAL[0]}.jpg",
        folder / "SegmentationClass" / f"{OWN[1]}.png",
        tmp_path / "SBD/benchmark_RELEASE/dataset/cls" / f"{EXTRA[0]}.mat",
    ):
        path.write_bytes(path.read_bytes() + b" ")
        fingerprints.append(VocDataset(AUG, tmp_path).fingerprint())
    assert len(set(fingerprints)) == 5


def test_an_incomplete_copy_is_refused_and_more_masks_than_listed_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists = write_voc(tmp_path, "none") / "ImageSets" / "Segmentation"
    for subset in ("train", "val"):
        (lists / f"{subset}.txt").write_text("\n".join(published_names(f"voc2012_{subset}")))
    masks = {
        name: Path(f"{name}.png") for name in (*published_names("voc2012_train_aug"), "2011_999999")
    }
    monkeypatch.setattr("rml_trainers.data.sources.voc.sbd_masks", lambda *_: masks)
    whole = VocConfig()
    assert VocDataset(whole, tmp_path).names("train") == published_names("voc2012_train_aug")
    assert VocDataset(whole, tmp_path).names("val") == published_names("voc2012_val")
    only = VocDataset(replace(whole, train_set="train"), tmp_path)
    assert only.names("train") == published_names("voc2012_train")
    del masks["2008_000008"]
    with pytest.raises(
        DataError, match=r"not the 10582 images .*1 missing \(2008_000008\).*data.complete: false"
    ):
        VocDataset(whole, tmp_path).names("train")
