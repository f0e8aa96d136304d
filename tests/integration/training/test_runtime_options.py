"""How a step is carried out changes its memory and speed, never what is learnt."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from rml_trainers.config import BatchConfig, RunConfig, RuntimeConfig
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.data.splitting.splits import make_split
from rml_trainers.methods import METHODS
from rml_trainers.methods.comparators.adversarial.adv_ssl import AdvSslConfig
from rml_trainers.methods.comparators.contrastive.u2pl import U2plConfig
from rml_trainers.methods.comparators.cps import CpsConfig
from rml_trainers.methods.comparators.unimatch import UniMatchConfig
from rml_trainers.networks.accelerate import lean_batchnorm
from rml_trainers.networks.deeplab_v2 import DeepLabV2Config
from rml_trainers.noise.config import NoiseConfig
from rml_trainers.runtime.randomness import seed_model_noise
from rml_trainers.training.reporting import MemoryReporter
from rml_trainers.training.trainer import Trainer
from tests.support.tiny import tiny_config

pytestmark = pytest.mark.usefixtures("single_thread")
STAGE = 1


def trainer_of(config: RunConfig, data: PreparedData, work_dir: Path) -> Trainer:
    split = make_split(data.names("train"), config.split)
    device = torch.device("cpu")
    trainer = Trainer(
        config, data, split, device=device, reporter=MemoryReporter(), work_dir=work_dir
    )
    if trainer.config.method.uses_unlabelled:
        trainer.method.begin_stage(trainer.stage_context(STAGE))
    return trainer


MEANS_OF_PIECES = {"s4gan", "corrmatch"}
"""Methods with a loss that is no sum over pixels: in micro-batches it is the mean of the pieces,
as its docs say. (S4GAN's discriminator also drops channels of its own.) CorrMatch's head has the
statistics of its piece, and draws regions for it."""


def steps(trainer: Trainer, num_steps: int = 1) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Weights and statistics of the students after some steps, and the scalars of the last."""
    method = trainer.method
    for step in range(num_steps):
        batch = trainer.batches.batch(
            STAGE,
            step,
            with_unlabelled=trainer.config.method.uses_unlabelled,
            initial=method.initial_labels(),
        )
        seed_model_noise(0, step)
        result = trainer.train_on(batch, warm_up=False, progress=0.0)
    return trainer.learners.students.state_dict(), {
        name: float(value) for name, value in result.scalars.items()
    }


def runtime(**options: Any) -> RuntimeConfig:
    return replace(tiny_config().runtime, **options)


@pytest.mark.parametrize("method", METHODS)
def test_students_in_turn_and_losses_in_chunks_are_the_plain_step(
    method: str, tiny_data: PreparedData, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = tiny_config(method, runtime=runtime(students="together", loss_chunk_mib=0))
    wanted, told = steps(trainer_of(plain, tiny_data, scratch))
    monkeypatch.setattr("rml_trainers.students.pixel_losses.images_at_once", lambda *_: 1)
    weights, scalars = steps(trainer_of(tiny_config(method), tiny_data, scratch))
    assert scalars == pytest.approx(told, rel=1e-5)
    for name, tensor in wanted.items():
        torch.testing.assert_close(weights[name], tensor, rtol=1e-5, atol=1e-6, msg=name)


def test_a_loss_that_needs_the_peer_sees_it_also_in_turn(
    tiny_data: PreparedData, scratch: Path
) -> None:
    method = CpsConfig(on_labelled=True)
    wanted, told = steps(
        trainer_of(
            tiny_config("cps", method=method, runtime=runtime(students="together")),
            tiny_data,
            scratch,
        )
    )
    weights, scalars = steps(trainer_of(tiny_config("cps", method=method), tiny_data, scratch))
    assert scalars == told
    assert all(torch.equal(weights[name], tensor) for name, tensor in wanted.items())


@pytest.mark.parametrize(
    ("method", "students"),
    [
        *((method, "in_turn") for method in METHODS if method not in MEANS_OF_PIECES),
        ("rml", "together"),
        ("dmt", "together"),
    ],
)
def test_micro_batches_are_the_step_where_batchnorm_and_dropout_are_fixed(
    method: str, students: str, tiny_data: PreparedData, scratch: Path
) -> None:
    config = tiny_config(
        method,
        network=DeepLabV2Config(
            backbone="test_efficientnet", weights="none", batchnorm="frozen", aspp_branches=2
        ),
        noise=NoiseConfig(model=False),
        batch=BatchConfig(labelled=4, unlabelled=4),
        runtime=runtime(students=students),
    )
    if method == "adv_ssl":  # the mean over pixels that D believes is taken in each piece
        config = replace(config, method=AdvSslConfig(semi_weight=0.0))
    if method == "unimatch":
        config = replace(config, method=UniMatchConfig(threshold=0.2, channel_dropout=0.0))
    if method == "u2pl":  # its contrastive loss is the mean of the pieces
        config = replace(config, method=U2plConfig(contrast_weight=0.0))
    wanted, told = steps(trainer_of(config, tiny_data, scratch))
    cut = replace(config, batch=BatchConfig(labelled=4, unlabelled=4, accumulate=2))
    weights, scalars = steps(trainer_of(cut, tiny_data, scratch))
    assert scalars == pytest.approx(told, rel=1e-4)
    for name, tensor in wanted.items():
        torch.testing.assert_close(weights[name], tensor, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("what", ["batchnorm", "backbone"])
def test_activation_checkpointing_gives_the_same_weights(
    what: Literal["batchnorm", "backbone"], tiny_data: PreparedData, scratch: Path
) -> None:
    """Three steps with dropout, stochastic depth and live BatchNorm: weights, statistics and their
    counters.

    Blocks that are run again give the same bits. What BatchNorm gives is computed again in another
    way.
    """
    tolerance = 0.0 if what == "backbone" else 1e-5
    plain = tiny_config("rml", runtime=runtime(activation_checkpointing="none"))
    wanted, told = steps(trainer_of(plain, tiny_data, scratch), num_steps=3)
    recomputed = tiny_config("rml", runtime=runtime(activation_checkpointing=what))
    trainer = trainer_of(recomputed, tiny_data, scratch)
    weights, scalars = steps(trainer, num_steps=3)
    assert scalars == pytest.approx(told, rel=tolerance, abs=tolerance)
    assert weights.keys() == wanted.keys()
    assert any(
        name.endswith("num_batches_tracked") and int(tensor) == 3
        for name, tensor in weights.items()
    )
    for name, tensor in wanted.items():
        torch.testing.assert_close(weights[name], tensor, rtol=tolerance, atol=tolerance, msg=name)


@pytest.mark.parametrize(
    ("what", "recomputes"), [("auto", True), ("batchnorm", True), ("none", False)]
)
def test_a_step_keeps_recipes_instead_of_maps(
    what: Literal["auto", "batchnorm", "none"],
    recomputes: bool,
    tiny_data: PreparedData,
    scratch: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And computes every one of them again, student by student."""
    computed: list[Tensor] = []
    original = lean_batchnorm._output

    def noted(*told_by: Any) -> tuple[Tensor, Tensor]:
        result = original(*told_by)
        computed.append(result[0])
        return result

    monkeypatch.setattr(lean_batchnorm, "_output", noted)
    trainer = trainer_of(
        tiny_config("rml", runtime=runtime(activation_checkpointing=what)), tiny_data, scratch
    )
    steps(trainer)
    num_pairs = sum(
        len(list(lean_batchnorm.pairs(student))) for student in trainer.learners.students
    )
    assert num_pairs > 0
    assert len(computed) == (num_pairs if recomputes else 0)


def test_only_one_student_is_in_memory_at_a_time(tiny_data: PreparedData, scratch: Path) -> None:
    """The second student's forward comes when the first one's gradients are there."""
    for students, expected in (("in_turn", [True]), ("together", [False])):
        trainer = trainer_of(
            tiny_config("iml", runtime=runtime(students=students)), tiny_data, scratch
        )
        first, second = (trainer.learners.student(i) for i in (0, 1))
        seen: list[bool] = []

        def look(
            module: nn.Module, inputs: object, first: nn.Module = first, seen: list[bool] = seen
        ) -> None:
            seen.append(all(parameter.grad is not None for parameter in first.parameters()))

        second.register_forward_pre_hook(look)
        steps(trainer)
        assert seen == expected
