"""Preparing: whole or not at all, the same on any number of threads, every bad file named at
once."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from rml_trainers.data import build_dataset
from rml_trainers.data.files import Sources
from rml_trainers.data.prepared.arrow_writer import ArrowWriter
from rml_trainers.data.prepared.cache import PreparedData, check_prepared
from rml_trainers.data.prepared.prepare import cache_folder, ensure_prepared, prepare
from rml_trainers.data.sources.camvid import CamvidConfig
from rml_trainers.data.sources.folder import FolderConfig
from rml_trainers.data.sources.scenes import ScenesConfig
from rml_trainers.errors import DataError
from tests.support.image_folders import image, mask, save, write_camvid, write_folder

CAMVID = CamvidConfig(size_px=(40, 56))
SCENES = ScenesConfig(size_px=(32, 32), num_train=20, num_val=3)


def test_prepared_images_are_those_of_the_source(tmp_path: Path) -> None:
    write_camvid(tmp_path)
    data = ensure_prepared(CAMVID, tmp_path, tmp_path / "cache")
    dataset = build_dataset(CAMVID, tmp_path)
    assert data.names("train") == dataset.names("train")
    pixels = []
    for i, name in enumerate(data.names("train")):
        raw = dataset.read("train", name)
        label = data.label("train", i)
        assert raw.label is not None
        assert label is not None
        assert np.array_equal(data.image("train", i), raw.image)
        assert np.array_equal(label, raw.label)
        pixels.append(raw.image.reshape(-1, 3))
    assert data.mean_colour == tuple(np.round(np.concatenate(pixels).mean(axis=0)))
    assert (data.name, data.num_classes, data.size_px) == ("camvid", 11, (40, 56))


def test_everything_is_resized_to_the_configured_size(tmp_path: Path) -> None:
    write_camvid(tmp_path)
    data = ensure_prepared(replace(CAMVID, size_px=(32, 36)), tmp_path, tmp_path / "cache")
    label = data.label("train", 0)
    assert label is not None
    assert data.image("train", 0).shape == (32, 36, 3)
    assert label.shape == (32, 36)
    assert set(np.unique(label)) == {0, 3, 8, 255}, "a mask must never be interpolated"


def test_the_bytes_do_not_depend_on_the_number_of_threads(tmp_path: Path) -> None:
    dataset = build_dataset(SCENES, None)
    one, many = (prepare(dataset, tmp_path / f"{n}", num_threads=n) for n in (1, 5))
    assert one.content_hash == many.content_hash
    for file in ("train.arrow", "val.arrow", "manifest.json"):
        assert (one.folder / file).read_bytes() == (many.folder / file).read_bytes()


def test_the_content_hash_follows_pixels_labels_and_names(tmp_path: Path) -> None:
    folder = write_camvid(tmp_path)
    hashes = [ensure_prepared(CAMVID, tmp_path, tmp_path / "cache").content_hash]
    save(image(99), folder / "train" / "train_000.png")
    hashes.append(prepare(build_dataset(CAMVID, tmp_path), tmp_path / "a").content_hash)
    save(mask(99, (0, 3, 8, 11)), folder / "trainannot" / "train_001.png")
    hashes.append(prepare(build_dataset(CAMVID, tmp_path), tmp_path / "b").content_hash)
    (folder / "val" / "val_000.png").rename(folder / "val" / "val_007.png")
    (folder / "valannot" / "val_000.png").rename(folder / "valannot" / "val_007.png")
    hashes.append(prepare(build_dataset(CAMVID, tmp_path), tmp_path / "c").content_hash)
    assert len(set(hashes)) == 4


def test_progress_counts_every_image_once(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    prepare(
        build_dataset(SCENES, None),
        tmp_path / "scenes",
        on_progress=lambda done, total: told.append((done, total)),
    )
    assert told == [(done, 23) for done in range(1, 24)]


def test_every_bad_file_is_named_at_once_and_nothing_is_left(tmp_path: Path) -> None:
    folder = write_camvid(tmp_path, num_train=7)
    (folder / "trainannot" / "train_000.png").unlink()
    save(mask(1, (0, 3), height=32), folder / "trainannot" / "train_001.png")
    save(mask(2, (0, 12, 40)), folder / "trainannot" / "train_002.png")
    whole = (folder / "train" / "train_003.png").read_bytes()
    (folder / "train" / "train_003.png").write_bytes(whole[: len(whole) // 2])
    (folder / "train" / "train_004.png").write_bytes(b"no image at all")
    save(image(5), folder / "trainannot" / "train_005.png")
    Image.fromarray(np.zeros((40, 56), np.uint16)).save(folder / "val" / "val_001.png")
    with pytest.raises(DataError) as caught:
        ensure_prepared(CAMVID, tmp_path, tmp_path / "cache")
    expected = (
        "7 of 9 images cannot be used",
        "trainannot/train_000.png: mask missing",
        "trainannot/train_001.png: mask is 32×56, image is 40×56",
        "trainannot/train_002.png: class id 12, 40 out of range; expected 0..10 or 11",
        "train/train_003.png: corrupt or truncated image",
        "train/train_004.png: corrupt or truncated image",
        "trainannot/train_005.png: mask of mode RGB",
        "val/val_001.png: image of mode I;16",
    )
    assert [text for text in expected if text not in str(caught.value)] == []
    assert "train_006" not in str(caught.value)
    assert [path.name for path in (tmp_path / "cache").iterdir() if path.is_dir()] == []


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_an_image_cut_short_is_found(tmp_path: Path, suffix: str) -> None:
    folder = write_camvid(tmp_path, suffix=suffix)
    path = folder / "train" / f"train_002{suffix}"
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(DataError, match=rf"train/train_002\{suffix}: corrupt or truncated"):
        ensure_prepared(CAMVID, tmp_path, tmp_path / "cache")


def test_a_disk_that_is_full_is_an_error_without_leftovers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip(
            "fills a disk without harm through /dev/full, which this system (macOS, Windows) does "
            "not have"
        )

    class OnFullDisk(ArrowWriter):
        def __init__(self, path: Path) -> None:
            super().__init__(Path("/dev/full"))

    kept = prepare(build_dataset(SCENES, None), tmp_path / "scenes").content_hash
    monkeypatch.setattr("rml_trainers.data.prepared.prepare.ArrowWriter", OnFullDisk)
    with pytest.raises(DataError, match=r"cannot write prepared data .*scenes: the disk is full"):
        prepare(build_dataset(SCENES, None), tmp_path / "scenes")
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["scenes"]
    assert PreparedData.open(tmp_path / "scenes").content_hash == kept, "the finished set was lost"


def test_a_set_that_cannot_fit_is_refused_before_decoding(tmp_path: Path) -> None:
    class Vast:
        config = ScenesConfig(size_px=(2**20, 2**20))
        name = "scenes"
        class_names = ("a", "b")

        def names(self, subset: str) -> tuple[str, ...]:
            return tuple(f"{i}" for i in range(10_000))

        def names_without_label(self) -> tuple[str, ...]:
            return ()

        def read(self, subset: str, name: str) -> Any:
            raise AssertionError("decoded although it cannot fit")

        def fingerprint(self) -> str:
            return "vast"

        def sources(self) -> Sources:
            return Sources()

    with pytest.raises(DataError, match="the disk is full"):
        prepare(Vast(), tmp_path / "vast")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")
    with pytest.raises(DataError, match=r"cannot write prepared data under .*cache"):
        ensure_prepared(SCENES, None, tmp_path / "cache")


def test_preparing_again_is_a_no_op_until_the_source_changes(tmp_path: Path) -> None:
    folder = write_camvid(tmp_path)
    first = ensure_prepared(CAMVID, tmp_path, tmp_path / "cache")
    written = (first.folder / "manifest.json").stat().st_mtime_ns
    assert ensure_prepared(CAMVID, tmp_path, tmp_path / "cache").content_hash == first.content_hash
    assert (first.folder / "manifest.json").stat().st_mtime_ns == written
    save(image(50), folder / "train" / "train_new.png")
    save(mask(50, (0, 1)), folder / "trainannot" / "train_new.png")
    assert "train_new" in ensure_prepared(CAMVID, tmp_path, tmp_path / "cache").names("train")


def test_a_finished_set_needs_no_source(tmp_path: Path) -> None:
    write_camvid(tmp_path)
    made = ensure_prepared(CAMVID, tmp_path, tmp_path / "cache")
    assert ensure_prepared(CAMVID, None, tmp_path / "cache").content_hash == made.content_hash
    with pytest.raises(DataError, match="RML_DATA"):
        ensure_prepared(replace(CAMVID, size_px=(48, 64)), None, tmp_path / "cache")


def _cut(folder: Path) -> None:
    os.truncate(folder / "train.arrow", (folder / "train.arrow").stat().st_size // 2)


def _forget(folder: Path) -> None:
    (folder / "manifest.json").unlink()


@pytest.mark.parametrize("harm", [_cut, _forget])
def test_a_damaged_set_is_made_again_with_a_word_about_it(
    tmp_path: Path, harm: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    made = ensure_prepared(SCENES, None, tmp_path)
    harm(made.folder)
    again = ensure_prepared(SCENES, None, tmp_path)
    assert again.content_hash == made.content_hash
    check_prepared(again.folder)
    assert "prepared again now" in caplog.text


def test_leftovers_of_a_killed_process_are_cleared(tmp_path: Path) -> None:
    folder = cache_folder(SCENES, tmp_path)
    leftover = folder.with_name(f"{folder.name}.writing")
    leftover.mkdir()
    (leftover / "train.arrow").write_bytes(b"half")
    ensure_prepared(SCENES, None, tmp_path)
    assert not leftover.exists()


def test_who_waits_for_another_that_prepares_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = "rml_trainers.data.prepared.prepare"
    monkeypatch.setattr(f"{place}.TOLD_AFTER_S", 0.01)
    other = FileLock(tmp_path / ".scenes.lock")
    other.acquire()
    said: list[str] = []

    def tell(text: str, *details: object) -> None:
        said.append(text % details)
        other.release()

    monkeypatch.setattr(f"{place}._logger", Mock(warning=tell))
    prepare(build_dataset(SCENES, None), tmp_path / "scenes")
    (text,) = said
    assert text.startswith(f"another process prepares {tmp_path / 'scenes'} (`fuser ")


def test_of_two_that_want_the_same_set_one_prepares_and_the_other_waits(tmp_path: Path) -> None:
    together = threading.Barrier(2)

    def prepare_and_count(_: int) -> int:
        decoded = [0]
        together.wait(10)
        ensure_prepared(
            SCENES, None, tmp_path, on_progress=lambda done, total: decoded.__setitem__(0, done)
        )
        return decoded[0]

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(prepare_and_count, range(2))) == [0, 23]


def test_images_without_a_mask_are_prepared_without_a_label(tmp_path: Path) -> None:
    write_folder(tmp_path)
    config = FolderConfig(folder="own", class_names=("road", "car", "tree"), size_px=(40, 56))
    data = ensure_prepared(config, tmp_path, tmp_path / "cache")
    assert data.names_without_label() == ("b0", "b1", "b2")
    assert data.label("train", data.index("train", "b1")) is None
    report = check_prepared(data.folder)
    assert report.num_unlabelled == 3
    assert report.class_pixels == dict(
        zip(config.class_names, data.class_pixel_counts(data.names("train")).tolist(), strict=True)
    )


def test_the_folder_name_is_readable_and_follows_the_configuration(tmp_path: Path) -> None:
    names = {
        cache_folder(config, tmp_path).name
        for config in (CAMVID, CamvidConfig(), SCENES, replace(SCENES, seed=1))
    }
    assert len(names) == 4
    assert cache_folder(CamvidConfig(), tmp_path).name.startswith("camvid-360x480-")
