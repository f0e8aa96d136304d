"""Which files make a set: links, hidden files, suffixes, Unicode, and an account of the rest."""

import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rml_trainers.config import DataConfig
from rml_trainers.data import build_dataset
from rml_trainers.data.files import Skipped, image_files, read_text
from rml_trainers.data.sources.camvid import CamvidConfig
from rml_trainers.data.sources.cityscapes import CityscapesConfig
from rml_trainers.data.sources.folder import FolderConfig
from rml_trainers.data.sources.pairs import PairsConfig
from rml_trainers.data.sources.voc import VocConfig
from rml_trainers.errors import DataError
from tests.support.image_folders import (
    image,
    mask,
    save,
    write_camvid,
    write_folder,
    write_pairs,
)
from tests.support.own_data.picture_files import save_turned
from tests.support.published_trees import write_cityscapes, write_voc


def _config(**changes: Any) -> FolderConfig:
    values: dict[str, Any] = {
        "folder": "own",
        "class_names": ("road", "car", "tree"),
        "size_px": (40, 56),
    }
    return FolderConfig(**(values | changes))


def test_what_is_left_out_is_counted_by_reason_with_an_example(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    images = folder / "images"
    (images / "notes.txt").write_text("x")
    (images / "notes2.txt").write_text("x")
    (images / "._a0.jpg").write_bytes(b"x")
    save(image(1), images / ".thumbs" / "a0.png")
    (images / "gone.png").symlink_to("nowhere.png")
    dataset = build_dataset(_config(), tmp_path)
    assert len(dataset.names("train")) + len(dataset.names("val")) == 9
    assert dataset.sources().skipped.reasons == {
        "not a picture by its suffix": (2, "notes.txt"),
        "hidden file": (1, "._a0.jpg"),
        "hidden folder": (1, ".thumbs"),
        "broken link": (1, "gone.png"),
    }


def test_links_to_files_and_folders_are_followed(tmp_path: Path) -> None:
    for city in ("aachen", "bonn"):
        save(image(1), tmp_path / "far" / "images" / city / "1.png")
        save(mask(1, (0, 1)), tmp_path / "far" / "masks" / city / "1.png")
    for kind in ("images", "masks"):
        (tmp_path / "own" / kind).mkdir(parents=True)
        for city in ("aachen", "bonn"):
            link = tmp_path / "own" / kind / city
            link.symlink_to(tmp_path / "far" / kind / city)
    dataset = build_dataset(_config(val_fraction=0.5), tmp_path)
    assert sorted(dataset.names("train") + dataset.names("val")) == ["aachen/1", "bonn/1"]
    assert dataset.read("train", dataset.names("train")[0]).label is not None


def test_a_link_in_a_circle_is_refused_and_one_to_a_sibling_is_not(tmp_path: Path) -> None:
    save(image(1), tmp_path / "a" / "x" / "1.png")
    (tmp_path / "a" / "same").symlink_to(tmp_path / "a" / "x")
    assert sorted(image_files(tmp_path / "a")) == ["same/1", "x/1"]
    (tmp_path / "a" / "x" / "up").symlink_to(tmp_path / "a")
    with pytest.raises(DataError, match=r"/up: a link that leads back to .*remove the link"):
        image_files(tmp_path / "a")


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_compare_whatever_their_unicode_form(form: Any, tmp_path: Path) -> None:
    other: Any = "NFD" if form == "NFC" else "NFC"
    name = "Straße é"
    for i in range(3):
        stem = unicodedata.normalize(form, f"{name} {i}")
        save(image(i), tmp_path / "own" / "images" / f"{stem}.png")
        stem = unicodedata.normalize(other, f"{name} {i}")
        save(mask(i, (0, 1, 2)), tmp_path / "own" / "masks" / f"{stem}.png")
    listed = "\n".join(unicodedata.normalize(other, f"{name} {i}") for i in range(2))
    (tmp_path / "own" / "train.txt").write_text(listed, encoding="utf-8")
    dataset = build_dataset(_config(train_list="train.txt"), tmp_path)
    assert dataset.names("train") == tuple(
        unicodedata.normalize("NFC", f"{name} {i}") for i in range(2)
    )
    assert dataset.read("train", dataset.names("train")[0]).label is not None


def test_two_names_that_look_the_same_are_told(tmp_path: Path) -> None:
    for form in ("NFC", "NFD"):
        save(image(1), tmp_path / f"{unicodedata.normalize(form, 'é')}.png")
    if len(list(tmp_path.iterdir())) == 1:
        return  # this file system takes both for one name
    with pytest.raises(DataError, match="images with the same name"):
        image_files(tmp_path, Skipped())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_lists_are_read_in_every_encoding_that_editors_write(encoding: str, tmp_path: Path) -> None:
    write_folder(tmp_path)
    (tmp_path / "own" / "train.txt").write_bytes("a0\r\na1.jpg\r\n".encode(encoding))
    dataset = build_dataset(_config(train_list="train.txt"), tmp_path)
    assert dataset.names("train") == ("a0", "a1")


def test_text_of_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("Straße".encode("latin-1"))
    with pytest.raises(DataError, match=r"a.txt: not a text file in UTF-8 or UTF-16"):
        read_text(tmp_path / "a.txt")


def _shout(folder: Path) -> None:
    """Give every picture and matrix the suffix in capitals."""
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".png", ".jpg", ".mat"):
            path.rename(path.with_suffix(path.suffix.upper()))


@pytest.mark.parametrize(
    ("config", "write"),
    [
        (CamvidConfig(size_px=None), write_camvid),
        (_config(size_px=None), write_folder),
        (PairsConfig(folder="own", class_names=("a", "b", "c"), size_px=None), write_pairs),
        (CityscapesConfig(size_px=None, complete=False), write_cityscapes),
        (VocConfig(complete=False), lambda root: write_voc(root, "mat")),
        (VocConfig(complete=False), lambda root: write_voc(root, "png")),
    ],
)
def test_suffixes_compare_without_case_in_every_layout(
    config: DataConfig, write: Callable[[Path], Path], tmp_path: Path
) -> None:
    write(tmp_path / "plain")
    write(tmp_path / "loud")
    _shout(tmp_path / "loud")
    plain, loud = (build_dataset(config, tmp_path / place) for place in ("plain", "loud"))
    for subset in ("train", "val"):
        names = plain.names(subset)
        assert loud.names(subset) == names
        for name in names:
            one, other = (d.read(subset, name) for d in (plain, loud))
            assert np.array_equal(one.image, other.image)
            assert (one.label is None) == (other.label is None)


def test_a_mask_of_camvid_under_another_name_is_shown(tmp_path: Path) -> None:
    folder = write_camvid(tmp_path)
    for path in (folder / "trainannot").iterdir():
        path.rename(path.with_name(f"{path.stem}_L.png"))
    dataset = build_dataset(CamvidConfig(), tmp_path)
    wanted = r"train_001.png: mask missing; a file of that folder is called train_000_L.png"
    with pytest.raises(DataError, match=wanted):
        dataset.read("train", "train_001")
    count, _ = dataset.sources().skipped.reasons["mask without an image"]
    assert count == 4


def test_the_hint_says_that_a_mask_was_drawn_before_the_image_was_turned(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, num_bare=0)
    save_turned(image(3), folder / "images" / "a3.jpg", 8)
    dataset = build_dataset(_config(train_list="train.txt"), tmp_path)
    (folder / "train.txt").write_text("a3")
    with pytest.raises(DataError, match=r"mask is 40×56, image is 56×40.*turned by EXIF orient"):
        dataset.read("train", "a3")
