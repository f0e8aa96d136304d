"""What every data set must do; a new one is tested as soon as it is listed and has a sample
here."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest

from rml_trainers.config import DataConfig
from rml_trainers.data import DATASETS, build_dataset
from rml_trainers.data.dataset import SUBSETS, Dataset
from rml_trainers.data.prepared.cache import check_prepared
from rml_trainers.data.prepared.prepare import ensure_prepared
from rml_trainers.data.sources.camvid import CamvidConfig
from rml_trainers.data.sources.cityscapes import CityscapesConfig
from rml_trainers.data.sources.folder import FolderConfig
from rml_trainers.data.sources.mnist import MnistConfig
from rml_trainers.data.sources.pairs import PairsConfig
from rml_trainers.data.sources.scenes import ScenesConfig
from rml_trainers.data.sources.voc import VocConfig
from rml_trainers.errors import DataError
from tests.support.image_folders import write_camvid, write_folder, write_pairs
from tests.support.own_data.idx_files import write_mnist
from tests.support.published_trees import write_cityscapes, write_voc

SAMPLES: dict[str, tuple[DataConfig, Callable[[Path], object]]] = {
    "scenes": (ScenesConfig(size_px=(32, 48), num_train=6, num_val=2), lambda root: None),
    "camvid": (CamvidConfig(size_px=(32, 48)), write_camvid),
    "folder": (
        FolderConfig(folder="own", class_names=("road", "car", "tree"), size_px=(32, 48)),
        write_folder,
    ),
    "pairs": (
        PairsConfig(folder="own", class_names=("road", "car", "tree"), size_px=(32, 48)),
        write_pairs,
    ),
    "cityscapes": (CityscapesConfig(size_px=(32, 64), complete=False), write_cityscapes),
    "voc": (VocConfig(complete=False), write_voc),
    "mnist": (MnistConfig(), lambda root: write_mnist(root, num_train=6, num_val=2)),
}


@pytest.fixture(params=DATASETS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def dataset(name: str, tmp_path: Path) -> Dataset:
    config, write = SAMPLES[name]
    write(tmp_path)
    return build_dataset(config, tmp_path)


def test_the_name_is_the_one_it_is_listed_under(name: str, dataset: Dataset) -> None:
    config, _ = SAMPLES[name]
    assert dataset.name == config.name == name
    assert DATASETS[name].config is type(config)
    assert dataset.config == config


def test_names_are_sorted_and_the_subsets_apart(dataset: Dataset) -> None:
    train, val = (dataset.names(subset) for subset in SUBSETS)
    assert list(train) == sorted(set(train))
    assert list(val) == sorted(set(val))
    assert not set(train) & set(val)
    assert set(dataset.names_without_label()) <= set(train)


def test_images_and_labels_are_what_the_rest_expects(dataset: Dataset) -> None:
    bare = dataset.names_without_label()
    for subset in SUBSETS:
        for name in dataset.names(subset):
            raw = dataset.read(subset, name)
            assert raw.image.dtype == np.uint8
            assert raw.image.shape[2] == 3
            assert (raw.label is None) == (name in bare)
            if raw.label is not None:
                assert raw.label.shape == raw.image.shape[:2]
                assert {*np.unique(raw.label).tolist()} <= {*range(len(dataset.class_names)), 255}


def test_a_second_adapter_reads_the_same(name: str, dataset: Dataset, tmp_path: Path) -> None:
    again = build_dataset(SAMPLES[name][0], tmp_path)
    assert again.fingerprint() == dataset.fingerprint()
    for subset in SUBSETS:
        assert again.names(subset) == dataset.names(subset)


def test_it_can_be_prepared_and_checked(name: str, dataset: Dataset, tmp_path: Path) -> None:
    config, _ = SAMPLES[name]
    data = ensure_prepared(config, tmp_path, tmp_path / "cache")
    assert data.class_names == dataset.class_names
    assert data.names_without_label() == dataset.names_without_label()
    assert check_prepared(data.folder).num_images == {
        subset: len(dataset.names(subset)) for subset in SUBSETS
    }


def may_keep_sizes(config: DataConfig) -> bool:
    return type(None) in get_args(get_type_hints(type(config))["size_px"])


@pytest.mark.parametrize(
    "name", [name for name, (config, _) in SAMPLES.items() if may_keep_sizes(config)]
)
def test_it_can_keep_the_sizes_of_its_images(name: str, tmp_path: Path) -> None:
    config, write = SAMPLES[name]
    write(tmp_path)
    own: DataConfig = replace(config, size_px=None)
    dataset = build_dataset(own, tmp_path)
    data = ensure_prepared(own, tmp_path, tmp_path / "cache")
    assert data.size_px is None
    for subset in SUBSETS:
        for i, image in enumerate(data.names(subset)):
            assert np.array_equal(data.image(subset, i), dataset.read(subset, image).image)


def test_a_data_set_without_a_data_root_works_or_says_what_it_needs(name: str) -> None:
    config, _ = SAMPLES[name]
    if not DATASETS[name].needs_root:
        assert build_dataset(config, None).names("train")
        return
    with pytest.raises(DataError, match="RML_DATA"):
        build_dataset(config, None)


def test_published_names_stand_for_a_whole_set_only(name: str) -> None:
    config, _ = SAMPLES[name]
    entry = DATASETS[name]
    for subset in SUBSETS:
        assert entry.published_names(config, subset) is None, "a miniature is not the published set"
    if name in ("cityscapes", "voc"):
        train, val = (entry.published_names(entry.config(), subset) for subset in SUBSETS)
        assert train
        assert val
        assert not set(train) & set(val)
