"""Data sets by name, and the way from a configuration to the adapter that reads it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rml_trainers.data.dataset import Dataset, LabelReader, Subset, plain_labels
from rml_trainers.data.masks.name_template import PLAIN
from rml_trainers.data.masks.settings import OwnDataConfig
from rml_trainers.data.pictures.images import GreyRange
from rml_trainers.data.sources.camvid import CamvidConfig, CamvidDataset, read_camvid_label
from rml_trainers.data.sources.cityscapes import (
    IMAGE_ENDING,
    MASK_ENDING,
    CityscapesConfig,
    CityscapesDataset,
    published_cityscapes,
    read_cityscapes_label,
)
from rml_trainers.data.sources.folder import FolderConfig, FolderDataset
from rml_trainers.data.sources.mnist import MnistConfig, MnistDataset
from rml_trainers.data.sources.own_layout import own_labels
from rml_trainers.data.sources.pairs import PairsConfig, PairsDataset
from rml_trainers.data.sources.scenes import ScenesConfig, ScenesDataset
from rml_trainers.data.sources.voc import VocConfig, VocDataset, published_voc, read_voc_label
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
    labels: Callable[[Any, Sequence[str], Path | None], LabelReader] = plain_labels
    """From (configuration, class names, data root): what reads masks of the set's kind, wherever
    they lie."""


DATASETS: dict[str, DatasetEntry] = {
    "scenes": DatasetEntry(ScenesConfig, ScenesDataset, needs_root=False),
    "camvid": DatasetEntry(
        CamvidConfig,
        CamvidDataset,
        needs_root=True,
        labels=lambda config, names, root: read_camvid_label,
    ),
    "folder": DatasetEntry(FolderConfig, FolderDataset, needs_root=True, labels=own_labels),
    "pairs": DatasetEntry(PairsConfig, PairsDataset, needs_root=True, labels=own_labels),
    "cityscapes": DatasetEntry(
        CityscapesConfig,
        CityscapesDataset,
        needs_root=True,
        published_names=published_cityscapes,
        labels=lambda config, names, root: read_cityscapes_label,
    ),
    "voc": DatasetEntry(
        VocConfig,
        VocDataset,
        needs_root=True,
        published_names=published_voc,
        labels=lambda config, names, root: read_voc_label,
    ),
    "mnist": DatasetEntry(MnistConfig, MnistDataset, needs_root=True),
}
"""Open: a plug-in adds its own before a study is read."""


def grey_range_of(config: DataConfig) -> GreyRange | None:
    """Values of deep grey images that are black and white in a data set, for other images of its
    kind."""
    return config.grey_range if isinstance(config, OwnDataConfig) else None


def label_reader(
    config: DataConfig, class_names: Sequence[str], data_root: Path | None
) -> LabelReader:
    """Reads further masks by the rules of a configured data set. Raises DataError where a file that
    says what its masks mean is not there."""
    return DATASETS[config.name].labels(config, class_names, data_root)


def name_templates(config: DataConfig) -> tuple[str, str]:
    """How images and masks of a set's kind are called (`masks.name_template`): their file's path
    below a folder."""
    if isinstance(config, FolderConfig):
        return config.image_name, config.mask_name
    if isinstance(config, CityscapesConfig):
        return f"{{stem}}{IMAGE_ENDING}", f"{{stem}}{MASK_ENDING}"
    return PLAIN, PLAIN


def build_dataset(config: DataConfig, data_root: Path | None) -> Dataset:
    """Adapter of a configured data set. Raises DataError where its folders are not as they should
    be."""
    return DATASETS[config.name].build(config, data_root)
