"""Folders that lie as a public data set's archive unpacks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rml_trainers.data.dataset import Dataset
from rml_trainers.data.inspection.reading import Reading
from rml_trainers.data.sources.camvid import CamvidConfig, CamvidDataset
from rml_trainers.data.sources.cityscapes import CityscapesConfig, CityscapesDataset
from rml_trainers.data.sources.mnist import MnistConfig, MnistDataset
from rml_trainers.data.sources.voc import VocConfig, VocDataset
from rml_trainers.errors import RmlError


def public_readings(root: Path) -> Iterator[Reading]:
    """Readings as one of the public layouts that are there and whose first image can be read."""
    for block, dataset in _candidates(root):
        try:
            name = dataset.names("train")[0]
            dataset.names("val")
            dataset.read("train", name)
        except RmlError:
            continue
        note = "a copy that is whole can do without `complete: false`"
        notes = (note,) if "complete" in block else ()
        yield Reading(f"the layout of {dataset.name}", block, notes)


def _candidates(root: Path) -> Iterator[tuple[dict[str, Any], Dataset]]:
    makers = (
        lambda: (
            {"name": "camvid"},
            CamvidDataset(CamvidConfig(folder=root.name), root.parent),
        ),
        lambda: (
            {"name": "cityscapes", "complete": False},
            CityscapesDataset(CityscapesConfig(folder=root.name, complete=False), root.parent),
        ),
        lambda: (
            {"name": "voc", "complete": False, "train_set": "train"},
            VocDataset(VocConfig(folder=root.name, complete=False, train_set="train"), root.parent),
        ),
        lambda: ({"name": "mnist"}, MnistDataset(MnistConfig(folder=root.name), root.parent)),
    )
    for make in makers:
        try:
            yield make()
        except RmlError:
            continue
