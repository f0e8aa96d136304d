"""`best_holdout` end to end: chosen without looking at the test images, kept by checkpoints, loaded
for predictions."""

import dataclasses
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from rml_trainers.checkpoint.folder import load_checkpoint
from rml_trainers.config import RunConfig, SplitConfig
from rml_trainers.data.dataset import Subset, UInt8Array
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.data.splitting.splits import make_split
from rml_trainers.errors import ConfigError
from rml_trainers.prediction.inference import load_network
from rml_trainers.scoring.evaluation import evaluate
from rml_trainers.scoring.metrics import confusion_matrix
from rml_trainers.scoring.score import Evaluation
from rml_trainers.settings.evaluation import EvaluationConfig
from rml_trainers.training import trainer as module
from rml_trainers.training.reporting import MemoryReporter, Progress
from rml_trainers.training.trainer import Trainer
from tests.support.tiny import tiny_config

pytestmark = pytest.mark.usefixtures("single_thread")
CPU = torch.device("cpu")
HOLDOUT_SCORES = {2: 0.1, 4: 0.2, 6: 0.5, 8: 0.4, 10: 0.5, 12: 0.3}
"""What the hold-out is made to say at each step: the chosen one is neither the last nor the only
best."""
CHOSEN = 6


def config() -> RunConfig:
    evaluation = EvaluationConfig(
        networks=("teacher_1", "student_2"),
        batch=3,
        every_steps=2,
        moment="best_holdout",
        num_holdout=2,
    )
    return tiny_config(
        "rml", split=SplitConfig(num_labelled=5, pool_includes_labelled=True), evaluation=evaluation
    )


class Watched(PreparedData):
    """Notes which training images are touched while nothing is being scored."""

    def __init__(self, data: PreparedData) -> None:
        super().__init__(data.folder, data.manifest, data._rows)
        self.scoring = False
        self.touched = set[str]()

    def _note(self, subset: Subset, i: int) -> None:
        if subset == "train" and not self.scoring:
            self.touched.add(self.names("train")[i])

    def image(self, subset: Subset, i: int) -> UInt8Array:
        self._note(subset, i)
        return super().image(subset, i)

    def label(self, subset: Subset, i: int) -> UInt8Array | None:
        self._note(subset, i)
        return super().label(subset, i)

    def class_pixel_counts(self, names: Iterable[str]) -> npt.NDArray[np.int64]:
        listed = list(names)
        self.touched |= set(listed)
        return super().class_pixel_counts(listed)


class KeepCheckpoints(MemoryReporter):
    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def on_checkpoint(self, progress: Progress, folder: Path | None) -> None:
        assert folder is not None
        shutil.copytree(folder, self.folder / str(progress.step))


def run(
    data: PreparedData, folder: Path, resume_from: Path | None = None
) -> tuple[Trainer, KeepCheckpoints]:
    """Train to the end, with the hold-out's mIoU as scripted."""
    folder.mkdir(parents=True)
    watched = Watched(data)
    reporter = KeepCheckpoints(folder)
    split = make_split(data.names("train"), config().split)
    trainer = Trainer(
        config(),
        watched,
        split,
        device=CPU,
        reporter=reporter,
        work_dir=folder,
        resume_from=resume_from,
    )

    def scripted(*args: Any) -> tuple[Evaluation, ...]:
        watched.scoring = True
        evaluations = evaluate(*args)
        watched.scoring = False
        said = HOLDOUT_SCORES[trainer.step]
        return tuple(
            dataclasses.replace(e, scores={**e.scores, "miou": said})
            if e.subset == "holdout"
            else e
            for e in evaluations
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "evaluate", scripted)
        trainer.fit()
    return trainer, reporter


@dataclass
class Finished:
    trainer: Trainer
    reporter: KeepCheckpoints


@pytest.fixture(scope="module")
def whole(tiny_data: PreparedData, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return Finished(*run(tiny_data, tmp_path_factory.mktemp("moment") / "whole"))


def test_the_final_scores_are_those_of_the_best_step(whole: Finished) -> None:
    by_step = {progress.step: evaluations for progress, evaluations in whole.reporter.evaluations}
    assert sorted(by_step) == sorted(HOLDOUT_SCORES)
    assert [(e.subset, e.network) for e in by_step[CHOSEN]] == [
        ("val", "teacher_1"),
        ("val", "student_2"),
        ("holdout", "teacher_1"),
        ("holdout", "student_2"),
    ]
    final = whole.trainer.evaluations
    assert [e.protocol for e in final] == [
        "scenes-32x48/teacher_1/best_holdout",
        "scenes-32x48/student_2/best_holdout",
    ]
    for mine, then in zip(final, by_step[CHOSEN][:2], strict=True):
        assert then.protocol == f"scenes-32x48/{then.network}/last"
        assert mine.miou == then.miou
        np.testing.assert_array_equal(mine.confusion, then.confusion)
    assert (
        "info",
        "the final scores are those of step 6, the best on the hold-out (mIoU 50.0)",
    ) in whole.reporter.notes


def test_training_never_sees_the_hold_out(whole: Finished, tiny_data: PreparedData) -> None:
    held_out = set(whole.trainer.holdout)
    assert len(held_out) == 2
    assert isinstance(whole.trainer.data, Watched)
    assert whole.trainer.data.touched == set(tiny_data.names("train")) - held_out


@pytest.mark.parametrize("step", [3, 7, 11, 12])
def test_a_resumed_run_chooses_the_same(
    step: int, whole: Finished, tiny_data: PreparedData, tmp_path: Path
) -> None:
    """Before the choice, after it, in the last stage, and when there is nothing left to do."""
    trainer, _ = run(tiny_data, tmp_path / "resumed", whole.reporter.folder / str(step))
    assert trainer.chosen.step == CHOSEN
    mine = trainer.chosen.tensors()
    theirs = whole.trainer.chosen.tensors()
    assert mine.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert torch.equal(mine[name], tensor), name
    for one, other in zip(trainer.evaluations, whole.trainer.evaluations, strict=True):
        assert (one.protocol, one.miou, one.subset) == (other.protocol, other.miou, other.subset)
        np.testing.assert_array_equal(one.confusion, other.confusion)


def test_predictions_come_from_the_networks_that_were_scored(
    whole: Finished, tiny_data: PreparedData
) -> None:
    final = whole.reporter.folder / "12"
    for evaluation in whole.trainer.evaluations:
        predictor = load_network(final, config(), tiny_data.num_classes, evaluation.network, CPU)
        counts = np.zeros_like(evaluation.confusion)
        for i in range(len(tiny_data.names("val"))):
            image = torch.from_numpy(tiny_data.image("val", i).copy()).permute(2, 0, 1)[None] / 255
            predicted = predictor(image, (32, 48)).argmax(1)[0]
            label = tiny_data.label("val", i)
            assert label is not None
            counts += confusion_matrix(
                predicted, torch.from_numpy(label.copy()), tiny_data.num_classes
            ).numpy()
        assert np.abs(counts - evaluation.confusion).sum() <= 8, "but for rounding between batches"
    stored = load_checkpoint(final)
    chosen = (
        load_network(final, config(), tiny_data.num_classes, "teacher_1", CPU)
        .networks[0]
        .state_dict()
    )
    other = (
        load_network(final, config(), tiny_data.num_classes, "teacher_2", CPU)
        .networks[0]
        .state_dict()
    )
    name = "aspp.branches.0.weight"
    assert not torch.equal(chosen[name], stored.teachers[f"1.{name}"]), "not the last step's"
    assert torch.equal(other[name], stored.teachers[f"2.{name}"]), (
        "a network that was not scored is the last one"
    )


def test_too_large_a_hold_out_is_refused_before_anything_is_built(
    tiny_data: PreparedData, scratch: Path
) -> None:
    large = dataclasses.replace(config().evaluation, num_holdout=5)
    split = make_split(tiny_data.names("train"), config().split)
    with pytest.raises(
        ConfigError, match=r"evaluation.num_holdout = 5: the split has 5 labelled images"
    ):
        Trainer(
            dataclasses.replace(config(), evaluation=large),
            tiny_data,
            split,
            device=CPU,
            reporter=MemoryReporter(),
            work_dir=scratch,
        )
