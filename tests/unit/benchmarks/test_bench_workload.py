"""Contenders do what their names say: floors, steps, parts of a step, counted operations."""

from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from rml_benchmarks.measuring.arithmetic import count_flops, matrix_product
from rml_benchmarks.parts.feeding import Endless
from rml_benchmarks.parts.step_breakdown import Replay, parts_of
from rml_benchmarks.settings import SMALLEST
from rml_benchmarks.workload.contenders import contender, images_per_call, title
from rml_benchmarks.workload.images import blurred_noise
from rml_benchmarks.workload.workload import METHOD_CONFIGS, Workload
from rml_trainers.data.loading.loaders import Batch
from rml_trainers.methods import METHODS
from rml_trainers.networks.accelerate import lean_batchnorm

pytestmark = pytest.mark.usefixtures("single_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def rml(folder: Path) -> Workload:
    return Workload(SMALLEST, METHOD_CONFIGS["rml"], folder, num_batches=2)


def forwards(network: nn.Module, counts: list[int]) -> None:
    network.register_forward_hook(
        lambda module, arguments, output: counts.append(len(arguments[0]))
    )


def test_images_have_the_wanted_size_and_classes(tmp_path: Path) -> None:
    _, data = blurred_noise(tmp_path, (40, 64), 5, num_train=3, num_val=2)
    labels = [data.label("train", i) for i in range(3)]
    assert data.image("train", 0).shape == (40, 64, 3)
    assert {int(value) for label in labels if label is not None for value in label.ravel()} == set(
        range(5)
    )
    _, again = blurred_noise(tmp_path, (40, 64), 5, num_train=3, num_val=2)
    assert again.content_hash == data.content_hash


def test_the_floor_runs_every_network_once_and_changes_nothing(rml: Workload) -> None:
    counts: list[int] = []
    for network in (*rml.learners.students, *rml.learners.teachers):
        forwards(network, counts)
    before = {name: p.clone() for name, p in rml.learners.students.named_parameters()}
    rml.floor()(0)
    assert counts == [2, 2, 4, 4], "two teachers on the unlabelled images, two students on all"
    for name, parameter in rml.learners.students.named_parameters():
        assert parameter.grad is not None, name
        assert torch.equal(parameter, before[name])


def test_replayed_networks_give_the_same_loss_without_running(rml: Workload) -> None:
    replay = Replay(rml.learners)
    batch = rml.batches[0]
    torch.manual_seed(0)
    loss = rml.trainer.method.step(batch, replay).loss  # type: ignore[arg-type]
    counts: list[int] = []
    for network in (*rml.learners.students, *rml.learners.teachers):
        forwards(network, counts)
    outputs = replay.forward_students([])
    again = rml.trainer.method.step(batch, replay).loss  # type: ignore[arg-type]
    again.backward()  # type: ignore[no-untyped-call]
    assert not counts
    assert float(again.detach()) == pytest.approx(float(loss.detach()), rel=1e-3), (
        "prototypes have moved a little"
    )
    assert all(
        output.logits.grad is not None and bool(output.logits.grad.any()) for output in outputs
    )


def test_parts_run(rml: Workload) -> None:
    parts = parts_of(rml)
    rml.step(0)
    before = [p.clone() for p in rml.learners.teachers.parameters()]
    for call in parts.values():
        call(1)
    moved = zip(before, rml.learners.teachers.parameters(), strict=True)
    assert {"rectification and prototypes", "mean teachers"} <= set(parts)
    assert any(not torch.equal(a, b) for a, b in moved), "the mean teachers' part moves them"


def test_worker_processes_take_turns(rml: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    def record(step: int) -> Batch:
        read.append(step)
        return rml.batches[0]

    monkeypatch.setattr(rml, "read", record)
    for number in (0, 1):
        worker = SimpleNamespace(id=number, num_workers=2)
        monkeypatch.setattr(
            "rml_benchmarks.parts.feeding.get_worker_info", lambda worker=worker: worker
        )
        assert len(list(islice(Endless(rml), 3))) == 3
    assert read == [0, 2, 4, 1, 3, 5]


@pytest.mark.parametrize(
    ("name", "recomputes"),
    [("step/rml", True), ("floor/rml", False), ("peer/rml/float32/our", False)],
)
def test_only_our_step_computes_anything_twice(
    name: str, recomputes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A floor that did would flatter the step that is held against it."""
    made: list[object] = []
    monkeypatch.setattr(lean_batchnorm, "remember", lambda *told: made.append(told))
    contender(name, SMALLEST, tmp_path)(0)
    assert bool(made) == recomputes


@pytest.mark.parametrize("name", ["step/rml", "floor/iml", "peer/rml/float32/plain"])
def test_contenders_are_built_from_their_name(name: str, folder: Path) -> None:
    contender(name, SMALLEST, folder)(0)


def test_every_method_of_the_benchmark_is_a_method() -> None:
    assert set(METHOD_CONFIGS) <= set(METHODS)
    assert [METHOD_CONFIGS[name].name for name in METHOD_CONFIGS] == list(METHOD_CONFIGS)


def test_names_and_images() -> None:
    names = ["step/rml", "floor/rml", "peer/cps/float32/plain", "peer/unimatch/bfloat16/our"]
    peers = ["CPS-style, float32, plain kernels", "UniMatch-style, bfloat16, our kernels"]
    assert [title(name) for name in names] == ["rml", "floor", *peers]
    assert [images_per_call(name, SMALLEST) for name in ("step/supervised", "step/rml")] == [2, 4]


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_groups_of_a_convolution_are_counted_as_they_are(groups: int) -> None:
    layer = nn.Conv2d(4, 8, 3, padding=1, groups=groups, bias=False)
    x = torch.ones(2, 4, 5, 6, requires_grad=True)
    forward = 2 * (2 * 8 * 5 * 6) * (4 // groups * 9)
    assert count_flops(lambda index: layer(x)) == forward
    assert count_flops(lambda index: layer(x).sum().backward()) == 3 * forward
    first = nn.ConvTranspose2d(4, 8, 3, groups=groups, bias=False)  # its input wants no gradient
    forward = 2 * (2 * 4 * 5 * 6) * (8 // groups * 9)
    assert count_flops(lambda index: first(x.detach()).sum().backward()) == 2 * forward


def test_operations_are_counted_forward_and_backward() -> None:
    layer = nn.Linear(3, 5, bias=False)
    x = torch.ones(7, 3, requires_grad=True)
    assert count_flops(lambda index: layer(x).sum().backward()) == 3 * 2 * 3 * 5 * 7
    yardstick = matrix_product(torch.device("cpu"), torch.float32)
    assert count_flops(yardstick.call) == yardstick.flops
