"""A method may train a network of its own beside the students: both learn, each from its own
loss."""

from pathlib import Path

import pytest
import torch

from rml_trainers.config import OptimiserConfig, TeacherConfig
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.data.splitting.splits import make_split
from rml_trainers.methods import METHODS, MethodEntry
from rml_trainers.methods.paper.mean_teacher import MeanTeacherConfig
from rml_trainers.students.own_networks import OwnNetwork, as_a_head
from rml_trainers.training.reporting import MemoryReporter
from rml_trainers.training.trainer import Trainer
from tests.support.networks.adversarial import Adversarial
from tests.support.tiny import tiny_config

pytestmark = pytest.mark.usefixtures("single_thread")


@pytest.fixture
def trainer(tiny_data: PreparedData, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> Trainer:
    """The method stands in for one that the trainer knows, so that it is built as every other."""
    monkeypatch.setitem(METHODS, "mean_teacher", MethodEntry(MeanTeacherConfig, Adversarial))
    config = tiny_config("mean_teacher")
    split = make_split(tiny_data.names("train"), config.split)
    return Trainer(
        config,
        tiny_data,
        split,
        device=torch.device("cpu"),
        reporter=MemoryReporter(),
        work_dir=scratch,
    )


def test_neither_loss_reaches_the_other_network(trainer: Trainer) -> None:
    result = trainer.method.step(
        trainer.batches.batch(1, 0, with_unlabelled=True), trainer.learners
    )
    own = list(trainer.own_networks["discriminator"].module.parameters())
    result.own_losses["discriminator"].backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for p in trainer.learners.parameters()), (
        "D's loss reached the student"
    )
    assert all(p.grad is not None for p in own)
    for parameter in own:
        parameter.grad = None
    result.loss.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for p in own), "the student's loss reached D"
    assert all(p.requires_grad for p in own)


def test_it_learns_in_the_stages_and_not_in_the_warm_up(trainer: Trainer) -> None:
    network = trainer.own_networks["discriminator"]
    before = {name: tensor.clone() for name, tensor in network.module.state_dict().items()}
    trainer.train_on(trainer.batches.batch(0, 0, with_unlabelled=False), warm_up=True, progress=0.0)
    assert all(
        torch.equal(before[name], tensor) for name, tensor in network.module.state_dict().items()
    )
    for step in range(3):
        trainer.train_on(
            trainer.batches.batch(1, step, with_unlabelled=True), warm_up=False, progress=step / 3
        )
    for name, tensor in network.module.state_dict().items():
        assert not torch.equal(before[name], tensor), f"{name} did not move"
    assert float(network.tensors()["optimiser/0/step"]) == 3


def test_its_learning_rate_decays_over_the_stage() -> None:
    rates = []

    class Watched(torch.optim.SGD):
        def step(self, closure: object = None) -> None:  # type: ignore[override]
            rates.append(self.param_groups[0]["lr"])

    layer = torch.nn.Linear(2, 1)
    network = OwnNetwork(layer, lambda parameters: Watched(parameters, lr=0.5), poly_power=2.0)
    for progress in (0.0, 0.5):
        network.minimise(layer(torch.ones(1, 2)).sum(), progress)
    assert rates == [0.5, 0.125]


def test_a_head_learns_from_the_students_loss_and_its_teacher_follows() -> None:
    """At the head's rate, by the gradient that was left in it; the teacher begins as its copy."""
    optimiser = OptimiserConfig(lr=0.1, head_lr_factor=5.0, momentum=0.0, weight_decay=0.0)
    layer = torch.nn.Linear(2, 1, bias=False)
    before = layer.weight.detach().clone()
    head = OwnNetwork(layer, as_a_head(optimiser), teacher=TeacherConfig(ema_decay=0.75))
    head.to(torch.device("cpu"))
    layer(torch.tensor([[1.0, 2.0]])).sum().backward()
    head.take_gradients(0.0, step=7)
    assert layer.weight.grad is None, "the next step would add to it"
    after = before - 0.5 * torch.tensor([[1.0, 2.0]])
    torch.testing.assert_close(layer.weight.detach(), after)
    assert head.teacher is not None
    torch.testing.assert_close(head.teacher.weight, 0.75 * before + 0.25 * after)

    other = OwnNetwork(
        torch.nn.Linear(2, 1, bias=False), as_a_head(optimiser), teacher=TeacherConfig()
    )
    other.load_tensors(head.tensors())
    assert all(
        torch.equal(tensor, other.tensors()[name]) for name, tensor in head.tensors().items()
    )
    assert set(head.tensors()) >= {"module/weight", "teacher/weight"}
