"""Networks called compiled, or on streams: same results, same names, and one clear error where it
cannot be."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rml_trainers.config import RuntimeConfig
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.data.splitting.splits import make_split
from rml_trainers.errors import DeviceError
from rml_trainers.noise.config import GeometryConfig
from rml_trainers.students import forwards
from rml_trainers.students.forwards import forwards_of, one_by_one, require_compiler
from rml_trainers.students.learners import Learners
from rml_trainers.training.assembly import make_learners
from rml_trainers.training.reporting import MemoryReporter
from rml_trainers.training.trainer import Trainer
from tests.support.tiny import NETWORK_CONFIGS, tiny_config

pytestmark = pytest.mark.usefixtures("single_thread")


@pytest.fixture
def traced_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks are traced as `torch.compile` traces them and run as they are: no compiler, no
    minutes."""
    monkeypatch.setattr(forwards, "BACKEND", "eager")
    monkeypatch.setattr(forwards, "OPTIONS", {})
    torch.compiler.reset()


def learners_of(runtime: RuntimeConfig, data: PreparedData) -> Learners:
    return make_learners(
        tiny_config("mean_teacher", runtime=runtime), data.num_classes, torch.device("cpu")
    )


@pytest.mark.usefixtures("traced_only")
def test_a_compiled_step_is_the_same_step(tiny_data: PreparedData, scratch: Path) -> None:
    runtime = tiny_config().runtime
    weights = []
    for compiled in (False, True):
        config = tiny_config(
            "mean_teacher",
            network=NETWORK_CONFIGS["mlp"],  # is traced in no time
            geometry=GeometryConfig(crop_px=(32, 48)),
            runtime=replace(runtime, compile=compiled),
        )
        split = make_split(tiny_data.names("train"), config.split)
        device = torch.device("cpu")
        trainer = Trainer(
            config, tiny_data, split, device=device, reporter=MemoryReporter(), work_dir=scratch
        )
        torch.manual_seed(0)
        trainer.train_on(
            trainer.batches.batch(1, 0, with_unlabelled=True), warm_up=False, progress=0.0
        )
        weights.append(
            trainer.learners.students.state_dict() | trainer.learners.teachers.state_dict()
        )
    plain, compiled_ones = weights
    assert list(plain) == list(compiled_ones)
    for name, tensor in plain.items():
        torch.testing.assert_close(compiled_ones[name], tensor, msg=name)


def test_a_machine_that_cannot_compile_says_so_at_once(
    tiny_data: PreparedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise RuntimeError("No working C++ compiler found\nand much more")

    monkeypatch.setattr(torch, "compile", lambda *arguments, **options: refuse)
    with pytest.raises(
        DeviceError, match=r"runtime\.compile = true: .*\(No working C\+\+ compiler found\)"
    ):
        learners_of(RuntimeConfig(compile=True), tiny_data)


@pytest.mark.usefixtures("traced_only")
def test_a_machine_that_can_compile_is_let_through() -> None:
    require_compiler(torch.device("cpu"))


def test_without_compilation_the_networks_are_called_themselves(tiny_data: PreparedData) -> None:
    students = learners_of(RuntimeConfig(), tiny_data).students
    assert forwards_of(students, compiled=False) == list(students)


def test_streams_without_a_gpu_are_one_after_another(tiny_data: PreparedData) -> None:
    learners = learners_of(RuntimeConfig(students="streams"), tiny_data)
    assert learners._run_all is one_by_one


def test_compiled_networks_are_not_recomputed() -> None:
    with pytest.raises(
        ValueError,
        match=r"activation_checkpointing = 'backbone': expected auto or none with compile",
    ):
        RuntimeConfig(compile=True, activation_checkpointing="backbone")
