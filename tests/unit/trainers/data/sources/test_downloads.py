"""Downloads: only what is missing, into the layout that the adapters read; without a network an
error with ways out."""

import errno
import shutil
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torchvision.datasets
import torchvision.datasets.utils
from torchvision.datasets import MNIST

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


@pytest.mark.parametrize(
    "cut",
    [
        "JPEGImages/2007_000032.jpg",
        "JPEGImages/2008_000015.jpg",
        "JPEGImages/2007_000042.jpg",
        "SegmentationClass/2007_000039.png",
        "SegmentationClass/2007_000033.png",
    ],
)
@pytest.mark.parametrize("is_empty", [False, True], ids=["missing", "empty"])
def test_an_archive_that_was_cut_off_while_it_was_unpacked_is_unpacked_again(
    cut: str, is_empty: bool, tmp_path: Path, asked: list[tuple[str, str]]
) -> None:
    """Images that only SBD labels are in VOC's archive too."""
    file = write_voc(tmp_path) / cut
    file.unlink()
    if is_empty:
        file.touch()
    assert download(VOC, tmp_path)
    assert asked == [("voc 2012", str(tmp_path))], "what is there of SBD is whole"
    assert file.stat().st_size > 0
    assert not download(VOC, tmp_path)


def test_files_that_the_archive_lacks_are_named(
    tmp_path: Path, asked: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_voc(tmp_path)
    for name in ("2007_000032", "2007_000042"):
        (folder / "JPEGImages" / f"{name}.jpg").unlink()
    monkeypatch.setattr(torchvision.datasets, "VOCSegmentation", lambda *_, **__: None)
    wanted = r"not complete: .*2007_000032\.jpg: no such file, or an empty one; 2 files in all"
    with pytest.raises(DataError, match=wanted):
        download(VOC, tmp_path)


def test_mnist_is_fetched_once_and_read_where_torchvision_lays_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    whole = write_mnist(tmp_path / "there", suffix="")

    def fetch(url: str, root: str, *, filename: str, md5: str) -> None:
        if url.startswith(MNIST.mirrors[0]):
            raise URLError("the first mirror is away")
        asked.append(filename)
        Path(root).mkdir(parents=True, exist_ok=True)
        shutil.copy(whole / filename.removesuffix(".gz"), root)

    monkeypatch.setattr(torchvision.datasets.utils, "download_and_extract_archive", fetch)
    assert download(MnistConfig(), tmp_path)
    assert not download(MnistConfig(), tmp_path)
    assert asked == [file for file, _ in MNIST.resources]
    assert len(MnistDataset(MnistConfig(), tmp_path).names("train")) == 24
    last = tmp_path / "mnist" / "MNIST" / "raw" / "t10k-labels-idx1-ubyte"
    last.write_bytes(last.read_bytes()[:-3])
    assert download(MnistConfig(), tmp_path), "it was cut off while it was unpacked"
    assert not download(MnistConfig(), tmp_path)


def test_mnist_without_a_network_names_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setattr(torchvision.datasets.utils, "download_and_extract_archive", fail)
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
