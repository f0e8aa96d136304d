"""Fetching public data sets with torchvision into the layout that their adapters read. Only ever
when asked for."""

import errno
import http.client
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.error import URLError

from rml_trainers.data.dataset import SUBSETS
from rml_trainers.data.sources.cityscapes import WHERE
from rml_trainers.data.sources.voc import VocConfig, VocDataset
from rml_trainers.errors import ConfigError, DataError
from rml_trainers.settings.contract import DataConfig

VOC_ARCHIVE = Path("VOCdevkit", "VOC2012")
"""What VOC's archive unpacks to."""
# What torchvision raises where there is no network, or where what comes is not the archive.
_BROKEN = (OSError, RuntimeError, EOFError, tarfile.TarError, http.client.HTTPException)


def download(config: DataConfig, data_root: Path) -> bool:
    """Fetch a data set unless it is there already; returns whether anything was fetched.

    Raises:
        ConfigError: a data set that no program can fetch, or a folder that its archive does not
            unpack to.
        DataError: no network, a full disk, or an archive without all that the adapter reads.
    """
    if config.name not in DOWNLOADS:
        raise ConfigError(
            f"{config.name}: rml downloads {' and '.join(sorted(DOWNLOADS))} only. {WHERE}"
        )
    missing = _missing(config, data_root)
    if missing is None:
        return False
    try:
        DOWNLOADS[config.name].fetch(config, data_root)
    except _BROKEN as error:
        raise DataError(_not_downloaded(config, data_root, error, missing)) from error
    if (missing := _missing(config, data_root)) is not None:
        raise DataError(f"{config.name} was downloaded, but is not complete: {missing}")
    return True


def _missing(config: DataConfig, data_root: Path) -> str | None:
    """What is missing under the data root, or None where the adapter finds every name, and every
    file of theirs."""
    return _unnamed(config, data_root) or _lacking(config, data_root)


def _unnamed(config: DataConfig, data_root: Path) -> str | None:
    """What the adapter says is missing, or None where it finds every name."""
    from rml_trainers.data import build_dataset

    try:
        dataset = build_dataset(config, data_root)
        for subset in SUBSETS:
            dataset.names(subset)
    except DataError as error:
        return str(error)
    return None


def _lacking(config: DataConfig, data_root: Path) -> str | None:
    """Files that are missing of a set whose names are found. VOC's names stand in lists, which are
    unpacked before the images; MNIST's come from its files."""
    if not isinstance(config, VocConfig):
        return None
    lacking = list(VocDataset(config, data_root).lacking())
    if not lacking:
        return None
    more = f"; {len(lacking)} files in all" if len(lacking) > 1 else ""
    return f"{lacking[0]}: no such file, or an empty one{more}"


def _not_downloaded(config: DataConfig, data_root: Path, error: Exception, missing: str) -> str:
    start = f"cannot download {config.name!r} into {data_root}:"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{start} the disk is full; free some space, or give another --data-root"
    sources = " and ".join(DOWNLOADS[config.name].sources())
    return (
        f"{start} {str(error).strip() or type(error).__name__}\n"
        f"Without a network: run `rml data download {config.name} --data-root DIR` where there is "
        "one and copy DIR "
        f"here, or fetch {sources} and unpack it yourself.\nStill missing: {missing}"
    )


def _fetch_voc(config: VocConfig, data_root: Path) -> None:
    """VOC (2 GB), and for `train_aug` SBD with its .mat files (1.4 GB)."""
    from torchvision.datasets import SBDataset, VOCSegmentation
    from torchvision.datasets.utils import download_and_extract_archive

    folder = data_root / config.folder
    if folder.parts[-2:] != VOC_ARCHIVE.parts:
        raise ConfigError(
            f"data.folder = {config.folder!r}: VOC's archive unpacks to …/{VOC_ARCHIVE}; end it so"
        )
    root = folder.parents[1]
    root.mkdir(parents=True, exist_ok=True)
    is_named = _unnamed(config, data_root) is None  # then it is an image that may be missing
    own = config if is_named else replace(config, train_set="train")
    if _missing(own, data_root) is not None:
        # An archive that lies there whole is unpacked again, and not fetched.
        VOCSegmentation(str(root), year="2012", image_set="train", download=True)
    if _unnamed(config, data_root) is not None:
        # Not SBDataset itself: it moves folders about, which a second try after a cut first one
        # does not survive.
        sbd = str(data_root / config.sbd_folder)
        download_and_extract_archive(
            SBDataset.url, sbd, filename=SBDataset.filename, md5=SBDataset.md5
        )


def _voc_sources() -> tuple[str, ...]:
    from torchvision.datasets import SBDataset
    from torchvision.datasets.voc import DATASET_YEAR_DICT

    return DATASET_YEAR_DICT["2012"]["url"], SBDataset.url


def _fetch_mnist(config: Any, data_root: Path) -> None:
    """The four idx files, 11 MB; they come to lie in MNIST/raw."""
    from torchvision.datasets import MNIST
    from torchvision.datasets.utils import download_and_extract_archive

    raw = data_root / config.folder / "MNIST" / "raw"
    # Not MNIST itself: it takes a file that was cut off while it was unpacked for the whole one.
    for file, md5 in MNIST.resources:
        said = list[str]()
        for url in (f"{mirror}{file}" for mirror in MNIST.mirrors):
            try:
                download_and_extract_archive(url, str(raw), filename=file, md5=md5)
                break
            except (RuntimeError, URLError) as error:
                said.append(f"{url}: {error}")
        else:
            raise RuntimeError("\n".join(said))


def _mnist_sources() -> tuple[str, ...]:
    from torchvision.datasets import MNIST

    return tuple(f"{MNIST.mirrors[0]}{file}" for file, _ in MNIST.resources)


@dataclass(frozen=True)
class Download:
    """How a data set is fetched into a data root, and from where."""

    fetch: Callable[[Any, Path], None]
    sources: Callable[[], tuple[str, ...]]


DOWNLOADS: dict[str, Download] = {
    "voc": Download(_fetch_voc, _voc_sources),
    "mnist": Download(_fetch_mnist, _mnist_sources),
}
