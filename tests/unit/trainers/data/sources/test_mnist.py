"""MNIST: idx files under all their usual names, an image as one pixel of its class, one clear error
for bad files."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rml_trainers.data import build_dataset
from rml_trainers.data.dataset import Subset
from rml_trainers.data.sources.idx import read_idx
from rml_trainers.data.sources.mnist import MNIST_CLASSES, MnistConfig, MnistDataset
from rml_trainers.errors import DataError
from tests.support.image_folders import real_root
from tests.support.own_data.idx_files import write_idx, write_mnist

IMAGES = "train-images-idx3-ubyte.gz"
LABELS = "train-labels-idx1-ubyte.gz"


def test_every_pixel_has_the_class_of_its_image_and_names_run_through(tmp_path: Path) -> None:
    write_mnist(tmp_path, num_train=12, num_val=3)
    dataset = build_dataset(MnistConfig(), tmp_path)
    assert dataset.names("train") == tuple(f"{i:05d}" for i in range(12))
    assert dataset.names("val") == ("00012", "00013", "00014")
    expected: tuple[tuple[Subset, str, int], ...] = (("train", "00011", 1), ("val", "00014", 2))
    for subset, name, digit in expected:
        raw = dataset.read(subset, name)
        assert raw.image.shape == (28, 28, 3) and (raw.image[:, 2 * digit] == 250).all()
        assert raw.label is not None and raw.label.shape == (28, 28) and (raw.label == digit).all()


@pytest.mark.parametrize("place", ["mnist", "mnist/raw", "mnist/MNIST/raw"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_files_are_found_where_people_have_them(tmp_path: Path, place: str, suffix: str) -> None:
    write_mnist(tmp_path, place=place, suffix=suffix)
    assert len(MnistDataset(MnistConfig(), tmp_path).names("train")) == 24


def test_dots_instead_of_dashes_and_a_gzipped_file_without_gz(tmp_path: Path) -> None:
    folder = write_mnist(tmp_path)
    for path in list(folder.iterdir()):
        path.rename(folder / path.name.replace("-idx", ".idx").removesuffix(".gz"))
    assert len(MnistDataset(MnistConfig(), tmp_path).names("val")) == 8


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    (write_mnist(tmp_path) / LABELS).unlink()
    with pytest.raises(
        DataError, match=r"mnist: neither train-labels-idx1-ubyte nor train-labels-idx1-ubyte.gz"
    ):
        MnistDataset(MnistConfig(), tmp_path).names("train")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def _cut_inside(path: Path) -> None:
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-20]))


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [_cut, _cut_inside, _flip])
@pytest.mark.parametrize("name", [IMAGES, LABELS])
def test_a_damaged_file_is_one_error_that_names_it(
    tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    damage(write_mnist(tmp_path) / name)
    with pytest.raises(DataError, match=rf"{name}: corrupt or truncated .*fetch the file again"):
        MnistDataset(MnistConfig(), tmp_path).names("train")


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    folder = write_mnist(tmp_path)
    (folder / LABELS).write_bytes((folder / IMAGES).read_bytes())
    with pytest.raises(
        DataError,
        match=rf"{LABELS}: not an idx file of bytes with 1 axes \(begins with 00 00 08 03\)",
    ):
        MnistDataset(MnistConfig(), tmp_path).names("train")
    with pytest.raises(DataError, match="not an idx file"):
        read_idx(Path(__file__), num_axes=1)


def test_images_and_labels_of_other_numbers_and_classes_out_of_range_are_refused(
    tmp_path: Path,
) -> None:
    folder = write_mnist(tmp_path)
    write_idx(np.zeros(23, np.uint8), folder / LABELS)
    with pytest.raises(DataError, match=r"holds 24 images, train-labels-idx1-ubyte.gz 23 labels"):
        MnistDataset(MnistConfig(), tmp_path).names("train")
    write_idx(np.full(24, 10, np.uint8), folder / LABELS)
    with pytest.raises(DataError, match=r"class 10 out of range; expected 0\.\.9"):
        MnistDataset(MnistConfig(), tmp_path).names("train")


@pytest.mark.real_data
def test_the_real_digits_are_complete() -> None:
    if not (real_root() / "mnist").is_dir():
        pytest.skip(
            "needs the real digits: RML_DATA names a folder without mnist/ (`rml data download "
            "mnist`)"
        )
    dataset = MnistDataset(MnistConfig(), real_root())
    assert (len(dataset.names("train")), len(dataset.names("val"))) == (60000, 10000)
    label = dataset.read("train", "00000").label
    assert label is not None and MNIST_CLASSES[label[0, 0]] == "5"
