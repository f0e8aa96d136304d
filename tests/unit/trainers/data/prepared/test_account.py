"""The account of a prepared set, and how a changed source is noticed."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rml_trainers.data.account import FILE, Account
from rml_trainers.data.masks.label_tables import LabelValues
from rml_trainers.data.prepared import source_record
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.data.prepared.prepare import cache_folder, ensure_prepared
from rml_trainers.data.sources.camvid import CamvidConfig
from rml_trainers.data.sources.folder import FolderConfig
from rml_trainers.data.sources.scenes import ScenesConfig
from rml_trainers.errors import DataError
from tests.support.image_folders import image, mask, save, write_folder
from tests.support.own_data.picture_files import save_turned

OWN = FolderConfig(folder="own", class_names=("road", "car", "tree"), size_px=(40, 56))


def _prepare(root: Path, config: FolderConfig = OWN) -> PreparedData:
    return ensure_prepared(config, root, root / "cache")


def _account(root: Path, config: FolderConfig = OWN) -> Account:
    account = _prepare(root, config).account()
    assert account is not None
    return account


def test_everything_is_accounted_for(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, num_labelled=10)
    save(mask(1, (0, 1, 255)), folder / "masks" / "a1.png")
    save(image(5, 80, 56), folder / "images" / "b1.png")
    save_turned(image(7), folder / "images" / "a7.jpg", 3)
    (folder / "images" / "notes.txt").write_text("x")
    account = _account(tmp_path)
    labels = [mask(i, (0, 1, 255) if i == 1 else (0, 1, 2)) for i in range(10)]
    num_ignored = sum(int((label == 255).sum()) for label in labels)
    assert account.num_images == {"train": 11, "val": 2}
    assert account.num_masks == {"train": 8, "val": 2}
    assert account.num_unlabelled == 3
    assert sum(account.ignored_pixels.values()) == num_ignored
    assert account.ignored_share == pytest.approx(num_ignored / (10 * 40 * 56))
    of_tree = sum(int((label == 2).sum()) for label in labels)
    share = of_tree / (10 * 40 * 56 - num_ignored)
    assert account.class_shares("all")["tree"] == pytest.approx(share)
    assert account.sizes == {"40×56": 12, "80×56": 1}
    assert account.image_kinds == {"JPEG RGB": 10, "PNG RGB": 3}
    assert account.mask_kinds == {"PNG L": 10}
    assert account.notes == {"turned by EXIF orientation 3": (1, "a7")}
    assert account.skipped == {"not a picture by its suffix": (1, "notes.txt")}
    text = "\n".join(account.lines())
    for part in ("8 with a mask", "3 unlabelled", "40×56 (12), 80×56 (1)", "notes.txt", "a7"):
        assert part in text
    assert account.summary().startswith("folder: 11 train images, 2 val images; 3 unlabelled; 3 ")
    assert account.warnings() == []


def test_binary_masks_taken_for_numbers_are_told_with_the_fix(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, num_bare=0)
    for i in range(6):
        save(mask(i, (0, 255)), folder / "masks" / f"a{i}.png")
    config = replace(OWN, class_names=("bg", "fg"))
    account = _account(tmp_path, config)
    (warning,) = account.warnings()
    assert warning.startswith("folder: no mask shows fg; ")
    assert "of the labelled pixels are ignored" in warning
    assert "data.label_values: binary" in warning
    assert "classes that occur nowhere: 1" in account.summary()
    fixed = _account(tmp_path, replace(config, label_values=LabelValues.parse("binary")))
    assert fixed.warnings() == []


def test_masks_that_are_all_ignored_are_told(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, num_bare=0)
    for i in range(6):
        save(mask(i, (255,)), folder / "masks" / f"a{i}.png")
    warnings = _account(tmp_path).warnings()
    assert [text for text in warnings if "no pixel of the val masks has a class" in text]


def test_a_set_without_an_account_or_with_a_damaged_one(tmp_path: Path) -> None:
    write_folder(tmp_path)
    data = _prepare(tmp_path)
    (data.folder / FILE).write_text("{")
    with pytest.raises(DataError, match=r"account.json: not readable .*--fresh"):
        data.account()
    (data.folder / FILE).unlink()
    assert _prepare(tmp_path).account() is None


def _swap_classes(path: Path) -> None:
    """Correct a mask in place: the same size to the byte, other classes."""
    save(np.asarray([0, 2, 1], np.uint8)[mask(0, (0, 1, 2))], path)


@pytest.fixture
def bmp_root(tmp_path: Path) -> Path:
    """Masks as BMP: their files have one size whatever they show."""
    folder = write_folder(tmp_path)
    for path in sorted((folder / "masks").iterdir()):
        save(mask(0, (0, 1, 2)), path.with_suffix(".bmp"))
        path.unlink()
    return tmp_path


def test_a_mask_corrected_in_place_is_noticed(
    bmp_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = _prepare(bmp_root).content_hash
    path = bmp_root / "own" / "masks" / "a3.bmp"
    size = path.stat().st_size
    _swap_classes(path)
    os.utime(path, ns=(1, 2))
    assert path.stat().st_size == size
    assert _prepare(bmp_root).content_hash != before
    assert "1 files of folder-40x56-" in caplog.text
    assert "mask/a3" in caplog.text
    assert caplog.text.count("prepared again now") == 1


def test_new_times_alone_are_no_change_and_are_learnt(
    bmp_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = _prepare(bmp_root).folder.stat().st_ino
    for path in (bmp_root / "own").rglob("*.*"):
        os.utime(path, ns=(1, 2))
    assert _prepare(bmp_root).folder.stat().st_ino == written

    def read_again(path: Path) -> None:
        raise AssertionError(f"{path} read again though its time is known")

    monkeypatch.setattr(source_record.SourceFile, "of", read_again)
    assert _prepare(bmp_root).folder.stat().st_ino == written


def test_the_same_size_and_time_need_fresh(bmp_root: Path) -> None:
    before = _prepare(bmp_root).content_hash
    path = bmp_root / "own" / "masks" / "a3.bmp"
    stat = path.stat()
    _swap_classes(path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert _prepare(bmp_root).content_hash == before, "nothing but reading everything could tell"
    again = ensure_prepared(OWN, bmp_root, bmp_root / "cache", fresh=True)
    assert again.content_hash != before


def test_a_set_prepared_before_there_were_records(bmp_root: Path) -> None:
    data = _prepare(bmp_root)
    (data.folder / source_record.FILE).unlink()
    inode = data.folder.stat().st_ino
    assert _prepare(bmp_root).folder.stat().st_ino == inode, "older than the set: as they were"
    _swap_classes(bmp_root / "own" / "masks" / "a3.bmp")
    os.utime(bmp_root / "own" / "masks" / "a3.bmp", ns=(2**62, 2**62))
    assert _prepare(bmp_root).content_hash != data.content_hash


def test_a_moved_source_is_the_same_set(bmp_root: Path, tmp_path: Path) -> None:
    before = _prepare(bmp_root)
    shutil.move(bmp_root / "own", bmp_root / "elsewhere" / "own")
    after = ensure_prepared(OWN, bmp_root / "elsewhere", bmp_root / "cache")
    assert after.folder.stat().st_ino == before.folder.stat().st_ino


def test_folders_are_named_as_before_there_were_the_new_settings(tmp_path: Path) -> None:
    """Names that the version before had; a set that was prepared then is found."""
    names = [
        cache_folder(config, tmp_path).name for config in (OWN, CamvidConfig(), ScenesConfig())
    ]
    assert names == [
        "folder-40x56-75941417",
        "camvid-360x480-35fe6e42",
        "scenes-96x128-a929fd42",
    ]
    tables = replace(OWN, label_values=LabelValues.parse("binary"))
    assert cache_folder(tables, tmp_path).name != names[0]
