"""Views of a student: complementary dropout of a feature, as UniMatch V2 has it, is made of views
alone, and pieces of a batch see what the whole sees."""

from collections.abc import Sequence
from dataclasses import replace as with_fields
from pathlib import Path
from unittest import mock

import pytest
import torch
from torch import Tensor

from rml_trainers.config import BatchConfig, replace
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.data.splitting.splits import make_split
from rml_trainers.labels.pseudo_labels import PseudoLabel
from rml_trainers.methods import METHODS, MethodEntry
from rml_trainers.methods.paper.mean_teacher import MeanTeacher, MeanTeacherConfig
from rml_trainers.methods.student_targets import StudentTargets, View
from rml_trainers.noise.config import NoiseConfig
from rml_trainers.noise.input_noise import InputNoiseDraw
from rml_trainers.students.micro_batches import MicroBatch
from rml_trainers.training.reporting import MemoryReporter
from rml_trainers.training.trainer import Trainer
from tests.support.tiny import NETWORK, tiny_config

KEPT = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
"""Half of the channels of each of four images; the other view keeps the others."""


class TwoHalves(MeanTeacher):
    """Two views of one forward whose features are dropped by opposite masks."""

    def views(
        self, weak: Tensor, draws: Sequence[InputNoiseDraw], targets: Sequence[PseudoLabel]
    ) -> list[View]:
        def masked(kept: Tensor, feature: Tensor, images: slice) -> Tensor:
            of_each = kept[images].repeat_interleave(feature.shape[1] // 2, dim=1)
            return feature * of_each[..., None, None]

        return [
            View(weak, list(targets), perturb=lambda f, i: masked(KEPT, f, i), name="half"),
            View(weak, list(targets), weight=0.5, perturb=lambda f, i: masked(1 - KEPT, f, i)),
        ]


def _trainer(data: PreparedData, work_dir: Path, accumulate: int) -> Trainer:
    work_dir.mkdir()
    config = tiny_config(
        "mean_teacher",
        batch=BatchConfig(labelled=4, unlabelled=4, accumulate=accumulate),
        network=with_fields(NETWORK, batchnorm="frozen"),
        noise=NoiseConfig(model=False),
    )
    config = replace(config, runtime=with_fields(config.runtime, loss_chunk_mib=1))
    split = make_split(data.names("train"), config.split)
    return Trainer(
        config,
        data,
        split,
        device=torch.device("cpu"),
        reporter=MemoryReporter(),
        work_dir=work_dir,
    )


def test_views_of_the_same_images_share_a_forward_and_micro_batches_know_their_numbers(
    tiny_data: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METHODS, "mean_teacher", MethodEntry(MeanTeacherConfig, TwoHalves))
    losses, gradient, seen = _step(_trainer(tiny_data, tmp_path / "whole", 1))
    of_pieces, summed, seen_in_pieces = _step(_trainer(tiny_data, tmp_path / "pieces", 2))
    assert (seen, seen_in_pieces) == ([8], [4, 4]), "labelled images and the weak ones, once"
    assert losses.keys() == of_pieces.keys() >= {"loss_half_1", "loss_unsupervised_1"}
    assert of_pieces == pytest.approx(losses, rel=1e-5)
    torch.testing.assert_close(summed, gradient, rtol=1e-4, atol=1e-7)


def _step(trainer: Trainer) -> tuple[dict[str, float], Tensor, list[int]]:
    """Scalars and gradient of one step, and how many images each forward took."""
    batch = trainer.batches.batch(1, 0, with_unlabelled=True)
    forward = trainer.learners.forward_students
    with mock.patch.object(trainer.learners, "forward_students", wraps=forward) as watched:
        result = trainer.method.step(batch, trainer.learners)
        seen = [len(call.args[0][0]) for call in watched.call_args_list]
    result.loss.backward()  # type: ignore[no-untyped-call]
    gradients = [p.grad for p in trainer.learners.parameters() if p.grad is not None]
    scalars = {name: float(value) for name, value in result.scalars.items()}
    return scalars, torch.cat([gradient.flatten() for gradient in gradients]), seen


def test_a_weight_counts_in_what_is_reported_and_a_name_reports_the_bare_loss(
    tiny_data: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METHODS, "mean_teacher", MethodEntry(MeanTeacherConfig, TwoHalves))
    trainer = _trainer(tiny_data, tmp_path / "run", 1)
    scalars, _, _ = _step(trainer)
    both = scalars["loss_unsupervised_1"]
    other = (both - scalars["loss_half_1"]) / 0.5
    assert other > 0 and other != pytest.approx(scalars["loss_half_1"])
    assert scalars["loss"] == pytest.approx(scalars["loss_supervised_1"] + both, rel=1e-6)


def test_the_views_of_a_micro_batch() -> None:
    images = torch.arange(4.0).view(4, 1, 1, 1)
    label = PseudoLabel(torch.arange(4).view(4, 1, 1), None)
    own = StudentTargets(
        images=images,
        label=label.hard,
        num_valid=torch.tensor(4.0),
        views=[View(images, [label]), View(images, [label], weight=2.0), View(images + 1, [label])],
    )
    second = own.of(MicroBatch((0,), index=1, num_pieces=2))
    assert second.images.flatten().tolist() == [2, 3]
    assert second.views[0].images is second.views[1].images, "one forward, in pieces too"
    assert second.views[2].images.flatten().tolist() == [3, 4]
    assert second.views[1].targets[0].hard.flatten().tolist() == [2, 3]
    assert second.views[1].numbers == slice(2, 4)
    assert second.views[1].of(slice(1, 2)).numbers == slice(3, 4)
    assert second.num_valid is own.num_valid
