"""Truth beside images: found and read as the data set of the run has it."""

from pathlib import Path

import numpy as np
import pytest

from rml_platform.views.prediction.inputs import find_inputs
from rml_platform.views.prediction.truth import find_truth
from rml_trainers.data import build_dataset, label_reader
from rml_trainers.data.files import Skipped
from rml_trainers.data.pictures.images import read_image
from rml_trainers.data.sources.cityscapes import CityscapesConfig
from rml_trainers.data.sources.voc import VocConfig
from rml_trainers.errors import DataError
from rml_trainers.settings.contract import DataConfig
from tests.support.published_trees import write_cityscapes, write_voc

CITYSCAPES = CityscapesConfig(size_px=None, complete=False)
VOC = VocConfig(complete=False, train_set="train")


def _cityscapes(root: Path) -> tuple[Path, Path]:
    folder = write_cityscapes(root)
    return folder / "leftImg8bit" / "val", folder / "gtFine" / "val"


def _voc(root: Path) -> tuple[Path, Path]:
    folder = write_voc(root)
    return folder / "JPEGImages", folder / "SegmentationClass"


@pytest.mark.parametrize(("config", "write"), [(CITYSCAPES, _cityscapes), (VOC, _voc)])
def test_truth_of_published_sets_is_what_training_reads(
    config: DataConfig, write: object, tmp_path: Path
) -> None:
    assert callable(write)
    images, masks = write(tmp_path)
    inputs, wrong = find_inputs([str(images)], Skipped())
    assert not wrong
    truth = find_truth(masks, None, inputs, config)
    dataset = build_dataset(config, tmp_path)
    read = label_reader(config, dataset.class_names, tmp_path)
    names = {Path(name).name: name for name in dataset.names("val")}
    seen = 0
    for one in inputs:
        stem = one.path.stem.removesuffix("_leftImg8bit")
        if one.name in truth and stem in names:
            label, _ = read(truth[one.name], read_image(one.path))
            wanted = dataset.read("val", names[stem]).label
            assert wanted is not None and np.array_equal(label, wanted)
            seen += 1
    assert seen == len(names) == 2


def test_a_folder_without_a_mask_for_any_image_says_how_masks_are_called(tmp_path: Path) -> None:
    images, masks = _cityscapes(tmp_path)
    inputs, _ = find_inputs([str(images)], Skipped())
    with pytest.raises(DataError, match=r"expected .*_gtFine_labelIds.*--truth-name"):
        find_truth(masks.parent / "train", None, inputs, CITYSCAPES)
