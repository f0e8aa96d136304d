"""Data sets by name, and the way from a configuration to the adapter that reads it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rml_trainers.data.dataset import Dataset, Subset
from rml_trainers.data.masks.settings import OwnDataConfig
from rml_trainers.data.pictures.images import GreyRange
from rml_trainers.data.sources.camvid import CamvidConfig, CamvidDataset
from rml_trainers.data.sources.cityscapes import (
    CityscapesConfig,
    CityscapesDataset,
    published_cityscapes,
)
from rml_trainers.data.sources.folder import FolderConfig, FolderDataset
from rml_trainers.data.sources.mnist import MnistConfig, MnistDataset
from rml_trainers.data.sources.pairs import PairsConfig, PairsDataset
from rml_trainers.data.sources.scenes import ScenesConfig, ScenesDataset
from rml_trainers.data.sources.voc import VocConfig, VocDataset, published_voc
from rml_trainers.settings.contract import DataConfig


@dataclass(frozen=True)
class DatasetEntry:
    """A data set's configuration class, and its builder from (configuration, data root)."""

    config: type[DataConfig]
    build: Callable[[Any, Path | None], Dataset]
    needs_root: bool
    """Whether its images come from the data root."""
    published_names: Callable[[Any, Subset], tuple[str, ...] | None] = lambda config, subset: None
    """Names that a configuration can only have, known without images; None where it takes what is
    on disk."""


DATASETS: dict[str, DatasetEntry] = {
    "scenes": DatasetEntry(ScenesConfig, ScenesDataset, needs_root=False),
    "camvid": DatasetEntry(CamvidConfig, CamvidDataset, needs_root=True),
    "folder": DatasetEntry(FolderConfig, FolderDataset, needs_root=True),
    "pairs": DatasetEntry(PairsConfig, PairsDataset, needs_root=True),
    "cityscapes": DatasetEntry(
        CityscapesConfig, CityscapesDataset, needs_root=True, published_names=published_cityscapes
    ),
    "voc": DatasetEntry(VocConfig, VocDataset, needs_root=True, published_names=published_voc),
    "mnist": DatasetEntry(MnistConfig, MnistDataset, needs_root=True),
}
"""Open: a plug-in adds its own before a study is read."""


def grey_range_of(config: DataConfig) -> GreyRange | None:
    """Values of deep grey images that are black and white in a data set, for other images of its
    kind."""
    return config.grey_range if isinstance(config, OwnDataConfig) else None


def build_dataset(config: DataConfig, data_root: Path | None) -> Dataset:
    """Adapter of a configured data set. Raises DataError where its folders are not as they should
    be."""
    return DATASETS[config.name].build(config, data_root)
