"""Downloads: only what is missing, into the layout that the adapters read; without a network an
error with ways out."""

import errno
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torchvision.datasets
import torchvision.datasets.utils

from rml_trainers.data.sources.camvid import CamvidConfig
from rml_trainers.data.sources.cityscapes import CityscapesConfig
from rml_trainers.data.sources.downloads import download
from rml_trainers.data.sources.mnist import MnistConfig, MnistDataset
from rml_trainers.data.sources.voc import VocConfig
from rml_trainers.errors import ConfigError, DataError
from tests.support.own_data.idx_files import write_mnist
from tests.support.published_trees import write_mats, write_voc

VOC = VocConfig(complete=False)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """(what, where) of everything that was fetched; the archives are replaced by miniature
    trees."""
    calls: list[tuple[str, str]] = []

    def voc(root: str, *, year: str, image_set: str, download: bool) -> None:
        calls.append((f"voc {year}", root))
        assert download
        write_voc(Path(root), "none")

    def sbd(url: str, root: str, *, filename: str, md5: str) -> None:
        calls.append((filename, root))
        write_mats(Path(root).parent)

    monkeypatch.setattr(torchvision.datasets, "VOCSegmentation", voc)
    monkeypatch.setattr(torchvision.datasets.utils, "download_and_extract_archive", sbd)
    return calls


def test_voc_and_sbd_are_fetched_once(tmp_path: Path, asked: list[tuple[str, str]]) -> None:
    root = tmp_path / "new"
    assert download(VOC, root)
    assert asked == [("voc 2012", str(root)), ("benchmark.tgz", str(root / "SBD"))]
    assert not download(VOC, root)
    assert len(asked) == 2


def test_mnist_is_fetched_once_and_read_where_torchvision_lays_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def fetch(root: str, *, download: bool) -> None:
        asked.append(root)
        assert download
        write_mnist(Path(root), place="MNIST/raw", suffix="")

    monkeypatch.setattr(torchvision.datasets, "MNIST", fetch)
    assert download(MnistConfig(), tmp_path)
    assert not download(MnistConfig(), tmp_path)
    assert asked == [str(tmp_path / "mnist")]
    assert len(MnistDataset(MnistConfig(), tmp_path).names("train")) == 24


def test_mnist_without_a_network_names_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", fail)
    with pytest.raises(
        DataError,
        match=r"cannot download 'mnist' [\s\S]*train-images-idx3-ubyte.gz and .*t10k-labels",
    ):
        download(MnistConfig(), tmp_path)


def test_only_what_is_missing_is_fetched(tmp_path: Path, asked: list[tuple[str, str]]) -> None:
    assert download(
        VocConfig(complete=False, train_set="train", folder="pascal/VOCdevkit/VOC2012"), tmp_path
    )
    assert asked == [("voc 2012", str(tmp_path / "pascal"))], "its own training set needs no SBD"
    write_voc(tmp_path, "none")
    assert download(VOC, tmp_path)
    assert asked[1:] == [("benchmark.tgz", str(tmp_path / "SBD"))]


def test_an_archive_that_lacks_images_is_not_taken_for_the_set(
    tmp_path: Path, asked: list[tuple[str, str]]
) -> None:
    with pytest.raises(
        DataError, match=r"voc was downloaded, but is not complete: .*not the 10582 images"
    ):
        download(VocConfig(), tmp_path)
    assert len(asked) == 2


def test_a_folder_that_the_archive_does_not_unpack_to_is_refused(
    tmp_path: Path, asked: list[tuple[str, str]]
) -> None:
    with pytest.raises(
        ConfigError, match=r"data.folder = 'voc': VOC's archive unpacks to …/VOCdevkit/VOC2012"
    ):
        download(VocConfig(folder="voc"), tmp_path)
    assert not asked


@pytest.mark.parametrize("config", [CityscapesConfig(), CamvidConfig()])
def test_what_cannot_be_fetched_is_said(tmp_path: Path, config: Any) -> None:
    with pytest.raises(
        ConfigError,
        match=rf"{config.name}: rml downloads mnist and voc only. Cityscapes asks for a reg",
    ):
        download(config, tmp_path)


@pytest.mark.parametrize(
    ("error", "parts"),
    [
        (
            URLError("Name or service not known"),
            (
                "Name or service not known",
                "copy DIR here",
                "VOCtrainval",
                "benchmark.tgz",
                "JPEGImages: no such folder",
            ),
        ),
        (
            RuntimeError("File not found or corrupted."),
            ("File not found or corrupted", "copy DIR here"),
        ),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            ("the disk is full", "another --data-root"),
        ),
    ],
)
def test_a_download_that_fails_names_the_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, parts: tuple[str, ...]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(torchvision.datasets, "VOCSegmentation", fail)
    with pytest.raises(DataError, match="cannot download 'voc' into") as caught:
        download(VOC, tmp_path)
    assert [part for part in parts if part not in str(caught.value)] == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot download 'voc' into .*file"):
        download(VOC, tmp_path / "file" / "root")
