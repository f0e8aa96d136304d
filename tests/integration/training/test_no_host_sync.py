"""A training step never waits for the device: it reads no tensor value back to Python."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rml_trainers.config import (
    BatchConfig,
    LabelledLossConfig,
    OptimiserConfig,
    RuntimeConfig,
    TeacherConfig,
)
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.data.splitting.splits import make_split
from rml_trainers.methods import METHODS, MethodEntry
from rml_trainers.methods.paper.iml import ImlConfig
from rml_trainers.methods.paper.mean_teacher import MeanTeacherConfig
from rml_trainers.networks import NETWORKS
from rml_trainers.noise.config import GeometryConfig
from rml_trainers.training.reporting import MemoryReporter
from rml_trainers.training.trainer import Trainer
from tests.support.networks.adversarial import Adversarial
from tests.support.tiny import NETWORK_CONFIGS, tiny_config

READ_BACKS = (
    "item",
    "tolist",
    "cpu",
    "numpy",
    "nonzero",
    "__bool__",
    "__int__",
    "__float__",
    "__index__",
)
pytestmark = pytest.mark.usefixtures("single_thread")


@pytest.fixture
def forbid_read_backs(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """On a GPU each of these waits for all queued work; on the CPU we make them raise instead."""

    def forbid() -> None:
        for name in READ_BACKS:

            def raising(self: Tensor, *args: object, _name: str = name, **kwargs: object) -> object:
                raise AssertionError(
                    f"Tensor.{_name} reads back to the host inside a training step"
                )

            monkeypatch.setattr(Tensor, name, raising)

    return forbid


def _trainer(method: str, data: PreparedData, work_dir: Path, /, **settings: object) -> Trainer:
    config = tiny_config(method, **settings)
    split = make_split(data.names("train"), config.split)
    return Trainer(
        config,
        data,
        split,
        device=torch.device("cpu"),
        reporter=MemoryReporter(),
        work_dir=work_dir,
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("warm_up", [True, False])
def test_a_step_reads_nothing_back(
    method: str,
    warm_up: bool,
    tiny_data: PreparedData,
    scratch: Path,
    forbid_read_backs: Callable[[], None],
) -> None:
    trainer = _trainer(method, tiny_data, scratch)
    with_unlabelled = trainer.config.method.uses_unlabelled and not warm_up
    if with_unlabelled:
        context = trainer.stage_context(1)
        trainer.method.begin_stage(context)
    initial = trainer.method.initial_labels() if with_unlabelled else ()
    batch = trainer.batches.batch(1, 0, with_unlabelled=with_unlabelled, initial=initial)
    trainer.meter.add(trainer.train_on(batch, warm_up=warm_up, progress=0.0))
    forbid_read_backs()
    trainer.meter.add(trainer.train_on(batch, warm_up=warm_up, progress=0.5))


@pytest.mark.parametrize(
    "settings",
    [
        {"runtime": RuntimeConfig(activation_checkpointing="backbone", threads=1)},
        {
            "runtime": RuntimeConfig(
                students="together", loss_chunk_mib=0, activation_checkpointing="none", threads=1
            )
        },
        {"batch": BatchConfig(labelled=2, unlabelled=2, accumulate=2)},
        {
            "method": ImlConfig(class_threshold=0.2, disagreement_weight=0.5),
            "labelled_loss": LabelledLossConfig(label_smoothing=0.1, hard_examples=0.7),
            "optimiser": OptimiserConfig(kind="adamw", lr=1e-4),
            "teacher": TeacherConfig(ema_decay=0.9, ema_warm_up=True),
        },
    ],
    ids=["recomputed", "plain", "accumulated", "options"],
)
def test_no_way_to_carry_out_a_step_reads_anything_back(
    settings: dict[str, object],
    tiny_data: PreparedData,
    scratch: Path,
    forbid_read_backs: Callable[[], None],
) -> None:
    trainer = _trainer("iml", tiny_data, scratch, **settings)
    trainer.method.begin_stage(trainer.stage_context(1))
    batch = trainer.batches.batch(1, 0, with_unlabelled=True)
    trainer.train_on(batch, warm_up=False, progress=0.0)
    forbid_read_backs()
    trainer.meter.add(trainer.train_on(batch, warm_up=False, progress=0.5))


@pytest.mark.parametrize("network", NETWORKS)
def test_no_network_reads_anything_back(
    network: str, tiny_data: PreparedData, scratch: Path, forbid_read_backs: Callable[[], None]
) -> None:
    whole_images = GeometryConfig(crop_px=(32, 48))
    trainer = _trainer(
        "mean_teacher", tiny_data, scratch, network=NETWORK_CONFIGS[network], geometry=whole_images
    )
    batch = trainer.batches.batch(1, 0, with_unlabelled=True)
    trainer.train_on(batch, warm_up=False, progress=0.0)
    forbid_read_backs()
    trainer.train_on(batch, warm_up=False, progress=0.5)


def test_a_network_of_a_method_reads_nothing_back(
    tiny_data: PreparedData,
    scratch: Path,
    forbid_read_backs: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(METHODS, "mean_teacher", MethodEntry(MeanTeacherConfig, Adversarial))
    trainer = _trainer("mean_teacher", tiny_data, scratch)
    batch = trainer.batches.batch(1, 0, with_unlabelled=True)
    trainer.train_on(batch, warm_up=False, progress=0.0)
    forbid_read_backs()
    trainer.meter.add(trainer.train_on(batch, warm_up=False, progress=0.5))


def test_the_guard_itself_notices(forbid_read_backs: Callable[[], None]) -> None:
    forbid_read_backs()
    with pytest.raises(AssertionError, match="reads back"):
        torch.ones(()).item()
