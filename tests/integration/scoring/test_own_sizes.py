"""A run on images that keep their own size: crops, stored p⁰ and scores all know the size of each
image."""

from pathlib import Path

import numpy as np
import pytest
import torch

from rml_trainers.config import SplitConfig
from rml_trainers.data.prepared.prepare import ensure_prepared
from rml_trainers.data.sources.folder import FolderConfig
from rml_trainers.data.splitting.splits import make_split
from rml_trainers.labels.initial_labels import InitialLabelStore
from rml_trainers.students.learners import to_unit_range
from rml_trainers.training.reporting import MemoryReporter
from rml_trainers.training.trainer import Trainer
from tests.support.image_folders import write_mixed_sizes
from tests.support.tiny import tiny_config

pytestmark = pytest.mark.usefixtures("single_thread")


def test_rml_trains_and_is_scored_on_images_of_many_sizes(tmp_path: Path, scratch: Path) -> None:
    write_mixed_sizes(tmp_path)
    data_config = FolderConfig(folder="own", class_names=("road", "car", "tree"), size_px=None)
    data = ensure_prepared(data_config, tmp_path, tmp_path / "cache")
    config = tiny_config("rml", data=data_config, split=SplitConfig(num_labelled=2))
    split = make_split(data.names("train"), config.split)
    device = torch.device("cpu")
    trainer = Trainer(
        config, data, split, device=device, reporter=MemoryReporter(), work_dir=scratch
    )
    (score,) = trainer.fit()
    assert score.protocol == "folder-original/teacher_1/last"
    labels = [data.label("val", i) for i in range(len(data.names("val")))]
    assert score.confusion.sum() == sum(label.size for label in labels if label is not None)
    assert (
        len({data.image_size("train", data.index("train", name)) for name in split.unlabelled}) > 1
    )
    stage_1 = sorted(scratch.glob("initial-labels-stage1-network1-*.arrow"))
    store = InitialLabelStore(stage_1[0], (3, 4), align_corners=True)
    for name in split.unlabelled:
        height, width = data.image_size("train", data.index("train", name))
        whole = torch.from_numpy(np.array(data.image("train", data.index("train", name)))).permute(
            2, 0, 1
        )[None]
        (output, _) = trainer.learners.predict("teachers", to_unit_range(whole))
        assert store.whole(name).shape == output.logits.shape[1:], f"{name} of {height}×{width}"
