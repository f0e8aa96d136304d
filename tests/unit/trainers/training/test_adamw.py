"""AdamW over students, against its equations written out for single numbers."""

import math
from dataclasses import replace

import pytest
import torch

from rml_trainers.config import OptimiserConfig
from rml_trainers.training.assembly import make_learners
from rml_trainers.training.optimiser import Optimiser
from tests.support.tiny import tiny_config

pytestmark = pytest.mark.usefixtures("single_thread")
CONFIG = OptimiserConfig(
    kind="adamw",
    lr=1e-3,
    head_lr_factor=40.0,
    momentum=0.9,
    second_moment=0.99,
    weight_decay=0.1,
    poly_power=0.9,
)


def test_each_number_follows_adam_with_decoupled_decay() -> None:
    learners = make_learners(tiny_config("supervised"), 3, torch.device("cpu"))
    optimiser = Optimiser(learners, CONFIG)
    student = learners.student(0)
    followed = {
        "backbone": (next(student.backbone_parameters()), 1e-3),
        "head": (next(student.head_parameters()), 40e-3),
    }
    expected = {name: float(p.detach().flatten()[0]) for name, (p, _) in followed.items()}
    first = dict.fromkeys(followed, 0.0)
    second = dict.fromkeys(followed, 0.0)
    for step in range(3):
        optimiser.clear()
        loss = sum(((step + 1) * p + p.square()).sum() for p in learners.parameters())
        optimiser.step(torch.as_tensor(loss), progress=step / 4)
        for name, (parameter, lr) in followed.items():
            value = expected[name]
            gradient = (step + 1) + 2 * value
            rate = lr * (1 - step / 4) ** 0.9
            first[name] = 0.9 * first[name] + 0.1 * gradient
            second[name] = 0.99 * second[name] + 0.01 * gradient**2
            mean = first[name] / (1 - 0.9 ** (step + 1))
            spread = math.sqrt(second[name] / (1 - 0.99 ** (step + 1)))
            expected[name] = value - rate * 0.1 * value - rate * mean / (spread + 1e-8)
            found = float(parameter.detach().flatten()[0])
            assert found == pytest.approx(expected[name], rel=1e-5)


def test_a_second_decay_rate_is_adamws() -> None:
    with pytest.raises(ValueError, match=r"second_moment = 0\.99: expected its default: SGD has"):
        replace(CONFIG, kind="sgd")
