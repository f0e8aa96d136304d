"""What a careless user or an unlucky run meets: each a clear error or a stated behaviour, nothing
is lost."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rml_trainers.config import BatchConfig, OptimiserConfig, RunConfig, SplitConfig
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.data.splitting.splits import Split, make_split
from rml_trainers.errors import ConfigError, DataError, NonFiniteLossError
from rml_trainers.noise.config import GeometryConfig
from rml_trainers.training.assembly import batch_recipe
from rml_trainers.training.reporting import MemoryReporter, Progress
from rml_trainers.training.trainer import Trainer
from tests.support.tiny import tiny_config

pytestmark = pytest.mark.usefixtures("single_thread")


def trainer_for(
    config: RunConfig, data: PreparedData, work_dir: Path, split: Split | None = None
) -> Trainer:
    return Trainer(
        config,
        data,
        split or make_split(data.names("train"), config.split),
        device=torch.device("cpu"),
        reporter=MemoryReporter(),
        work_dir=work_dir,
    )


class KeepsSteps(MemoryReporter):
    """Remembers at which steps a complete checkpoint was handed over."""

    def on_checkpoint(self, progress: Progress, folder: Path | None) -> None:
        assert folder is not None and (folder / "manifest.json").is_file()
        super().on_checkpoint(progress, folder)


def test_a_diverging_loss_stops_the_run_and_is_never_saved(
    tiny_data: PreparedData, scratch: Path
) -> None:
    trainer = trainer_for(
        tiny_config("supervised", optimiser=OptimiserConfig(lr=1e18)), tiny_data, scratch
    )
    trainer.reporter = KeepsSteps()
    with pytest.raises(NonFiniteLossError, match=r"optimiser\.lr"):
        trainer.fit()
    assert trainer.reporter.checkpoints == []


def test_zero_labelled_images_are_refused_before_training(
    tiny_data: PreparedData, scratch: Path
) -> None:
    split = Split((), tiny_data.names("train"), "none")
    with pytest.raises(DataError, match="no labelled image"):
        trainer_for(tiny_config("supervised"), tiny_data, scratch, split)


@pytest.mark.parametrize("method", ["supervised", "rml"])
def test_without_unlabelled_images_only_supervised_trains(
    method: str, tiny_data: PreparedData, scratch: Path
) -> None:
    config = tiny_config(method, split=SplitConfig(fraction=1.0))
    if method == "supervised":
        trainer_for(config, tiny_data, scratch).fit()
    else:
        with pytest.raises(DataError, match="no unlabelled image"):
            trainer_for(config, tiny_data, scratch)


def test_a_batch_of_one_trains_with_batchnorm(tiny_data: PreparedData, scratch: Path) -> None:
    """Statistics then come from one image's cells; no layer sees a single value per channel."""
    config = tiny_config("rml", batch=BatchConfig(labelled=1, unlabelled=1))
    scores = trainer_for(config, tiny_data, scratch).fit()
    assert np.isfinite(scores[0].miou)


def test_one_labelled_image_fills_every_batch(tiny_data: PreparedData, scratch: Path) -> None:
    config = tiny_config("iml", split=SplitConfig(num_labelled=1))
    assert np.isfinite(trainer_for(config, tiny_data, scratch).fit()[0].miou)


def test_images_smaller_than_the_crop_are_padded_and_padding_teaches_nothing(
    tiny_data: PreparedData, scratch: Path
) -> None:
    config = tiny_config("rml", geometry=GeometryConfig(crop_px=(48, 64)))
    trainer = trainer_for(config, tiny_data, scratch)
    batch = trainer.batches.batch(1, 0, with_unlabelled=True)
    assert batch.unlabelled is not None
    padding = ~batch.unlabelled.inside
    assert padding.float().mean() > 0.4, "32×48 images in 48×64 crops leave half of each crop empty"
    assert (batch.labelled[0].label[:, 33:] == 255).all()
    assert (batch.unlabelled.truth[padding] == 255).all()
    assert np.isfinite(trainer.fit()[0].miou)


def test_a_class_absent_from_every_labelled_image_is_told_and_counted(
    tiny_data: PreparedData, scratch: Path
) -> None:
    counts = {name: tiny_data.class_pixel_counts([name]) for name in tiny_data.names("train")}
    name, missing = next((n, int(np.argmin(c))) for n, c in counts.items() if c.min() == 0)
    split = Split((name,), tuple(n for n in counts if n != name), "one")
    trainer = trainer_for(tiny_config("rml"), tiny_data, scratch, split)
    scores = trainer.fit()
    assert isinstance(trainer.reporter, MemoryReporter)
    (kind, text), *_ = trainer.reporter.notes
    assert kind == "warning" and tiny_data.class_names[missing] in text
    assert scores[0].iou_by_class[tiny_data.class_names[missing]] in (
        0.0,
        pytest.approx(0.0, abs=0.2),
    )


def test_a_batch_that_workers_cannot_share_is_refused(tiny_data: PreparedData) -> None:
    from rml_trainers.data.loading.loaders import TrainingBatches

    config = replace(tiny_config("rml"), batch=BatchConfig(labelled=3, unlabelled=2))
    split = make_split(tiny_data.names("train"), config.split)
    with pytest.raises(ConfigError, match=r"batch\.labelled"):
        TrainingBatches(tiny_data, split, batch_recipe(config), world_size=2)


def test_forms_that_this_torch_lacks_names_for_are_told_and_training_goes_on(
    tiny_data: PreparedData, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.ops.aten.convolution_backward", None)
    monkeypatch.setattr("torch.ops.aten.native_batch_norm_backward", None)
    trainer = trainer_for(tiny_config("rml"), tiny_data, scratch)
    assert np.isfinite(trainer.fit()[0].miou)
    assert isinstance(trainer.reporter, MemoryReporter)
    (told,) = (text for _, text in trainer.reporter.notes if "this torch lacks" in text)
    assert "ASPP as one product (torch.ops.aten.convolution_backward)" in told
    assert "computed again (torch.ops.aten.native_batch_norm_backward)" in told
