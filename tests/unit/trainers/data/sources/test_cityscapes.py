"""Cityscapes: the official table of ids, labels reduced by vote, errors that say what is missing
and where it is."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rml_trainers.data.prepared.prepare import ensure_prepared
from rml_trainers.data.sources.cityscapes import (
    CITYSCAPES_CLASSES,
    CityscapesConfig,
    CityscapesDataset,
    train_ids,
)
from rml_trainers.data.splitting.published import published_names
from rml_trainers.errors import ConfigError, DataError
from tests.support.image_folders import UInt8Array, mask, save
from tests.support.published_trees import LABEL_IDS, write_cityscapes

MINIATURE = CityscapesConfig(size_px=(64, 128), complete=False)

# labels.py of Cityscapes' scripts: trainId of ids 0 to 33 (255: ignored in training and
# evaluation).
OFFICIAL = [255] * 7 + [
    0,
    1,
    255,
    255,
    2,
    3,
    4,
    255,
    255,
    255,
    5,
    255,
    6,
    7,
    8,
    9,
    10,
    11,
    12,
    13,
    14,
    15,
]
OFFICIAL += [255, 255, 16, 17, 18]


def test_ids_follow_the_official_table() -> None:
    assert train_ids(np.arange(34, dtype=np.uint8)).tolist() == OFFICIAL
    assert list(CITYSCAPES_CLASSES)[:3] == ["road", "sidewalk", "building"]
    assert len(CITYSCAPES_CLASSES) == 19


def test_names_are_city_and_image_and_labels_are_mapped(tmp_path: Path) -> None:
    write_cityscapes(tmp_path)
    dataset = CityscapesDataset(MINIATURE, tmp_path)
    assert dataset.names("train") == (
        "aachen/aachen_000000_000019",
        "aachen/aachen_000001_000019",
        "bochum/bochum_000000_000019",
        "bochum/bochum_000001_000019",
    )
    assert dataset.names("val")[0] == "frankfurt/frankfurt_000000_000019"
    raw = dataset.read("train", "bochum/bochum_000001_000019")
    assert raw.label is not None
    assert np.array_equal(raw.label, np.asarray(OFFICIAL)[mask(11, LABEL_IDS, 64, 128)])


def _slow_vote(ids: UInt8Array, factor: int) -> UInt8Array:
    voted = np.zeros((ids.shape[0] // factor, ids.shape[1] // factor), np.uint8)
    for row in range(voted.shape[0]):
        for column in range(voted.shape[1]):
            block = ids[row * factor : (row + 1) * factor, column * factor : (column + 1) * factor]
            voted[row, column] = np.bincount(block.ravel()).argmax()
    return voted


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_majority_is_the_vote_of_the_ids_in_each_block(tmp_path: Path, factor: int) -> None:
    folder = write_cityscapes(tmp_path, size_px=(128, 256))
    ids = np.random.default_rng(0).choice(np.asarray([1, 2, 7, 8, 33], np.uint8), (128, 256))
    save(ids, folder / "gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png")
    size = (128 // factor, 256 // factor)
    config = replace(MINIATURE, size_px=size, label_reduction="majority")
    data = ensure_prepared(config, tmp_path, tmp_path / "cache")
    label = data.label("train", 0)
    assert label is not None
    assert np.array_equal(label, np.asarray(OFFICIAL)[_slow_vote(ids, factor)])
    nearest = ensure_prepared(
        replace(config, label_reduction="nearest"), tmp_path, tmp_path / "cache"
    )
    assert np.array_equal(nearest.image("train", 0), data.image("train", 0)), (
        "the vote is about labels only"
    )
    assert (nearest.content_hash == data.content_hash) == (factor == 1)


def test_majority_wants_a_size_that_divides_the_mask(tmp_path: Path) -> None:
    write_cityscapes(tmp_path)
    config = replace(MINIATURE, size_px=(48, 96), label_reduction="majority")
    with pytest.raises(
        ConfigError,
        match=r"aachen_0.*labelIds.png is 64×128, no whole multiple of data.size_px = 48×96",
    ):
        ensure_prepared(config, tmp_path, tmp_path / "cache")


def test_a_vote_without_a_size_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"label_reduction = 'majority': expected 'nearest' where size_px is null"
    ):
        CityscapesConfig(size_px=None, label_reduction="majority")


def test_unknown_ids_and_masks_of_another_size_are_named(tmp_path: Path) -> None:
    folder = write_cityscapes(tmp_path)
    masks = folder / "gtFine" / "train" / "aachen"
    save(mask(0, (7, 34, 255), 64, 128), masks / "aachen_000000_000019_gtFine_labelIds.png")
    save(mask(0, (7,), 32, 64), masks / "aachen_000001_000019_gtFine_labelIds.png")
    with pytest.raises(DataError, match="2 of 6 images") as caught:
        ensure_prepared(MINIATURE, tmp_path, tmp_path / "cache")
    assert (
        "aachen_000000_000019_gtFine_labelIds.png: label id 34, 255 unknown; labelIds has 0 to 33"
        in str(caught.value)
    )
    assert "aachen_000001_000019_gtFine_labelIds.png: mask is 32×64, image is 64×128" in str(
        caught.value
    )


def test_a_missing_mask_is_an_error_unless_the_image_may_be_unlabelled(tmp_path: Path) -> None:
    folder = write_cityscapes(tmp_path)
    (folder / "gtFine/train/bochum/bochum_000000_000019_gtFine_labelIds.png").unlink()
    with pytest.raises(DataError, match=r"bochum_000000_000019_gtFine_labelIds.png: mask missing"):
        ensure_prepared(MINIATURE, tmp_path, tmp_path / "cache")
    data = ensure_prepared(
        replace(MINIATURE, allow_missing_masks=True), tmp_path, tmp_path / "cache"
    )
    assert data.names_without_label() == ("bochum/bochum_000000_000019",)
    (folder / "gtFine/val/frankfurt/frankfurt_000000_000019_gtFine_labelIds.png").unlink()
    with pytest.raises(
        DataError, match=r"frankfurt_000000_000019_gtFine_labelIds.png: mask missing"
    ):
        ensure_prepared(replace(MINIATURE, allow_missing_masks=True), tmp_path, tmp_path / "cache")


@pytest.mark.parametrize(
    "gone", ["leftImg8bit/train", "leftImg8bit/val", "gtFine/train", "gtFine/val"]
)
def test_a_missing_folder_is_named_with_the_layout_and_where_to_get_it(
    tmp_path: Path, gone: str
) -> None:
    folder = write_cityscapes(tmp_path)
    (folder / gone).rename(tmp_path / "elsewhere")
    with pytest.raises(DataError) as caught:
        CityscapesDataset(MINIATURE, tmp_path)
    for text in (
        f"cityscapes/{gone}: no such folder",
        "CITY_SEQ_FRAME_gtFine_labelIds.png",
        "cityscapes-dataset.com",
    ):
        assert text in str(caught.value)


def test_a_tree_without_images_is_refused(tmp_path: Path) -> None:
    folder = write_cityscapes(tmp_path)
    for path in (folder / "leftImg8bit" / "val").glob("*/*"):
        path.unlink()
    with pytest.raises(DataError, match="leftImg8bit/val: no images"):
        CityscapesDataset(MINIATURE, tmp_path).names("val")


def _touch_all(root: Path) -> Path:
    """A whole Cityscapes of empty files: enough for names."""
    folder = root / "cityscapes"
    for subset in ("train", "val"):
        (folder / "gtFine" / subset).mkdir(parents=True)
        for name in published_names(f"cityscapes_{subset}"):
            path = folder / "leftImg8bit" / subset / f"{name}_leftImg8bit.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return folder / "leftImg8bit"


def test_an_incomplete_copy_is_refused_because_its_splits_would_differ(tmp_path: Path) -> None:
    images = _touch_all(tmp_path)
    assert CityscapesDataset(CityscapesConfig(), tmp_path).names("train") == published_names(
        "cityscapes_train"
    )
    (images / "train" / "ulm" / "ulm_000000_000019_leftImg8bit.png").unlink()
    (images / "train" / "ulm" / "own_leftImg8bit.png").touch()
    incomplete = (
        r"not the 2975 images .*1 missing \(ulm/ulm_000000_000019\); 1 unknown "
        r"\(ulm/own\).*data.complete: false"
    )
    with pytest.raises(DataError, match=incomplete):
        CityscapesDataset(CityscapesConfig(), tmp_path).names("train")
    assert "ulm/own" in CityscapesDataset(CityscapesConfig(complete=False), tmp_path).names("train")
