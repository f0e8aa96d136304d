"""Every method goes on from a checkpoint as if nothing had happened: weights, its own state and
scores, bit by bit."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from rml_trainers.checkpoint.folder import Checkpoint, load_checkpoint
from rml_trainers.config import OptimiserConfig, RuntimeConfig, ScheduleConfig, TeacherConfig
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.data.splitting.splits import make_split
from rml_trainers.methods import METHODS, MethodEntry
from rml_trainers.methods.comparators.adversarial.ecs import EcsConfig
from rml_trainers.methods.paper.mean_teacher import MeanTeacherConfig
from rml_trainers.training.reporting import MemoryReporter, Progress
from rml_trainers.training.trainer import Trainer
from tests.support.networks.adversarial import Adversarial
from tests.support.tiny import METHOD_CONFIGS, tiny_config

pytestmark = pytest.mark.usefixtures("single_thread")
SCHEDULE = ScheduleConfig(warm_up_steps=1, stage_steps=(2, 2))
IN_STAGE_1 = 2
IN_STAGE_2 = 4
END = 5


class KeepCheckpoints(MemoryReporter):
    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def on_checkpoint(self, progress: Progress, folder: Path | None) -> None:
        assert folder is not None
        shutil.copytree(folder, self.folder / str(progress.step))


def train(
    method: str,
    data: PreparedData,
    folder: Path,
    resume_from: Path | None = None,
    /,
    **changes: Any,
) -> Checkpoint:
    """Train to the end and return the last checkpoint; the work folder is new, so no scratch file
    survives."""
    runtime = RuntimeConfig(
        device="cpu", checkpoint_every_steps=1, log_every_steps=5, num_read_ahead=0, threads=1
    )
    config = tiny_config(method, schedule=SCHEDULE, runtime=runtime, **changes)
    folder.mkdir()
    Trainer(
        config,
        data,
        make_split(data.names("train"), config.split),
        device=torch.device("cpu"),
        reporter=KeepCheckpoints(folder),
        work_dir=folder,
        resume_from=resume_from,
    ).fit()
    return load_checkpoint(folder / str(END))


def assert_same(ours: Checkpoint, theirs: Checkpoint) -> None:
    for part in ("students", "teachers", "optimiser", "extras"):
        mine = getattr(ours, part)
        other = getattr(theirs, part)
        assert mine.keys() == other.keys()
        for name, tensor in other.items():
            assert torch.equal(mine[name], tensor), f"{part}: {name} differs"
    assert ours.evaluations[0].confusion.tolist() == theirs.evaluations[0].confusion.tolist()


@pytest.mark.parametrize("method", METHODS)
def test_a_method_goes_on_from_stage_2(
    method: str, tiny_data: PreparedData, tmp_path: Path
) -> None:
    """Where a method counts the steps of its stage, something begins with the step that is left."""
    of_method = METHOD_CONFIGS[method]
    if isinstance(of_method, EcsConfig):
        of_method = replace(of_method, correction_start=1)
    whole = train(method, tiny_data, tmp_path / "whole", method=of_method)
    resumed = train(
        method,
        tiny_data,
        tmp_path / "resumed",
        tmp_path / "whole" / str(IN_STAGE_2),
        method=of_method,
    )
    assert_same(resumed, whole)


def test_adamw_and_a_warming_teacher_go_on(tiny_data: PreparedData, tmp_path: Path) -> None:
    """In the middle of a stage: both moments and the count of steps, and the teacher's decay."""
    changes: dict[str, Any] = {
        "optimiser": OptimiserConfig(kind="adamw", lr=1e-3),
        "teacher": TeacherConfig(ema_decay=0.99, ema_warm_up=True),
    }
    whole = train("iml", tiny_data, tmp_path / "whole", **changes)
    names = {name.partition("/")[2] for name in whole.optimiser}
    assert names == {"step", "exp_avg", "exp_avg_sq"}
    resumed = train(
        "iml", tiny_data, tmp_path / "resumed", tmp_path / "whole" / str(IN_STAGE_2), **changes
    )
    assert_same(resumed, whole)


@pytest.mark.parametrize("method", ["iml", "rml"])
def test_the_usual_confidence_in_each_class_goes_on(
    method: str, tiny_data: PreparedData, tmp_path: Path
) -> None:
    """And so do the other options of mutual learning that the paper does not have."""
    options: dict[str, Any] = {"class_threshold": 0.2, "disagreement_weight": 0.5}
    if method == "rml":
        options |= {"mixture": "labelled", "prototypes_from": "truth"}
    changes = {"method": replace(METHOD_CONFIGS[method], **options)}
    whole = train(method, tiny_data, tmp_path / "whole", **changes)
    assert {"method/confidence/1", "method/confidence/2"} <= whole.extras.keys()
    resumed = train(
        method, tiny_data, tmp_path / "resumed", tmp_path / "whole" / str(IN_STAGE_2), **changes
    )
    assert_same(resumed, whole)


@pytest.mark.parametrize("step", [IN_STAGE_1, IN_STAGE_2])
def test_a_network_of_a_method_goes_on_with_its_optimiser(
    step: int, tiny_data: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METHODS, "mean_teacher", MethodEntry(MeanTeacherConfig, Adversarial))
    whole = train("mean_teacher", tiny_data, tmp_path / "whole")
    assert any(name.startswith("own/discriminator/optimiser/") for name in whole.extras)
    resumed = train("mean_teacher", tiny_data, tmp_path / "resumed", tmp_path / "whole" / str(step))
    assert_same(resumed, whole)
