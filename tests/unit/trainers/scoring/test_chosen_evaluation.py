"""Which evaluation counts, what is remembered of it, and which images are kept out to choose it."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from rml_trainers.data.splitting.holdout import hold_out
from rml_trainers.data.splitting.splits import Split
from rml_trainers.errors import ConfigError
from rml_trainers.scoring.chosen_evaluation import ChosenEvaluation
from rml_trainers.scoring.score import Evaluation, ScoredSubset
from rml_trainers.settings.evaluation import EvaluationConfig
from rml_trainers.students.learners import Learners
from rml_trainers.training.assembly import make_learners
from tests.support.tiny import tiny_config

NAN = float("nan")


@pytest.fixture(scope="module")
def learners() -> Learners:
    return make_learners(tiny_config("iml"), 3, torch.device("cpu"))


def evaluation(network: str, miou: float, subset: ScoredSubset = "val") -> Evaluation:
    confusion = np.full((3, 3), int(1000 * miou) if miou == miou else 0)
    return Evaluation(
        protocol=f"a-1x1/{network}/last",
        network=network,
        scores={"miou": miou, "accuracy": miou, "iou/a": miou},
        confusion=confusion,
        subset=subset,
    )


def config(moment: str, **more: Any) -> EvaluationConfig:
    more |= {"every_steps": 1} if moment != "last" else {}
    more |= {"num_holdout": 2} if moment == "best_holdout" else {}
    return EvaluationConfig(networks=("teacher_1", "student_2"), moment=moment, **more)  # type: ignore[arg-type]


def offered(
    moment: ChosenEvaluation, learners: Learners, *scores: tuple[float, float, float]
) -> ChosenEvaluation:
    """Steps 10, 20, … with mIoU of (first network on val, second on val, first on the hold-out)."""
    for i, (first, second, held_out) in enumerate(scores):
        seen = [evaluation("teacher_1", first), evaluation("student_2", second)]
        seen += [
            evaluation("teacher_1", held_out, "holdout"),
            evaluation("student_2", 1 - held_out, "holdout"),
        ]
        moment.offer(10 * (i + 1), tuple(seen), learners, keep=True)
    return moment


@pytest.mark.parametrize(
    ("moment", "scores", "step"),
    [
        ("last", [(0.5, 0.1, 0.9), (0.4, 0.2, 0.8), (0.3, 0.3, 0.7)], 30),
        ("best_val", [(0.3, 0.9, 0.9), (0.4, 0.2, 0.8), (0.35, 0.3, 0.7)], 20),
        ("best_holdout", [(0.5, 0.1, 0.2), (0.4, 0.2, 0.8), (0.6, 0.3, 0.7)], 20),
        (
            "best_holdout",
            [(0.5, 0.1, 0.2), (0.4, 0.2, 0.8), (0.6, 0.3, 0.8)],
            20,
        ),  # equal: the earlier one
        (
            "best_holdout",
            [(0.5, 0.1, NAN), (0.4, 0.2, 0.0), (0.6, 0.3, NAN)],
            20,
        ),  # nothing to count in the first
        ("best_holdout", [(0.5, 0.1, NAN)], 10),
    ],
)
def test_the_first_network_decides_for_all(
    moment: str, scores: list[tuple[float, float, float]], step: int, learners: Learners
) -> None:
    chosen = offered(ChosenEvaluation(config(moment)), learners, *scores)
    first, second, _ = scores[step // 10 - 1]
    assert chosen.step == step
    assert [(e.network, e.miou, e.protocol) for e in chosen.evaluations] == [
        ("teacher_1", first, f"a-1x1/teacher_1/{moment}"),
        ("student_2", second, f"a-1x1/student_2/{moment}"),
    ]


def test_the_networks_of_the_chosen_step_are_kept_as_they_were(learners: Learners) -> None:
    moment = offered(ChosenEvaluation(config("best_val")), learners, (0.5, 0.1, 0.1))
    then = {
        name: tensor.clone()
        for name, tensor in moment.tensors().items()
        if name.startswith("network/")
    }
    weights = learners.teacher(0).state_dict()
    assert {name.split(".")[0] for name in then} == {"network/teachers/1", "network/students/2"}
    name = "aspp.branches.0.weight"
    assert torch.equal(then[f"network/teachers/1.{name}"], weights[name])
    with torch.no_grad():
        learners.teacher(0).get_parameter(name).add_(1)
    moment.offer(
        20, (evaluation("teacher_1", 0.4), evaluation("student_2", 0.9)), learners, keep=True
    )
    assert torch.equal(
        moment.tensors()[f"network/teachers/1.{name}"], then[f"network/teachers/1.{name}"]
    )
    moment.offer(
        30, (evaluation("teacher_1", 0.6), evaluation("student_2", 0.1)), learners, keep=True
    )
    assert torch.equal(
        moment.tensors()[f"network/teachers/1.{name}"], then[f"network/teachers/1.{name}"] + 1
    )


def test_a_run_that_scores_its_last_step_keeps_nothing(learners: Learners) -> None:
    assert offered(ChosenEvaluation(config("last")), learners, (0.5, 0.1, 0.1)).tensors() == {}
    assert ChosenEvaluation(config("best_val")).tensors() == {}


def test_a_choice_goes_on_where_it_was(learners: Learners) -> None:
    before = offered(ChosenEvaluation(config("best_holdout")), learners, (0.5, 0.1, 0.30000001))
    after = ChosenEvaluation(config("best_holdout"))
    after.load_tensors(before.tensors())
    after.evaluations = before.evaluations
    assert (after.step, after.evaluations) == (10, before.evaluations)
    assert after.tensors().keys() == before.tensors().keys()
    worse = (evaluation("teacher_1", 0.9), evaluation("teacher_1", 0.3, "holdout"))
    after.offer(20, worse, learners, keep=True)
    assert after.step == 10
    assert (
        after.describe()
        == "the final scores are those of step 10, the best on the hold-out (mIoU 30.0)"
    )


SPLIT = Split(tuple(f"l{i}" for i in range(10)), tuple(f"u{i}" for i in range(5)), "abc")


def test_the_hold_out_leaves_training_altogether() -> None:
    shared = Split(SPLIT.labelled, (*SPLIT.labelled, *SPLIT.unlabelled), "abc")
    rest, held_out = hold_out(shared, 3)
    assert len(held_out) == 3 and list(held_out) == sorted(held_out)
    assert set(rest.labelled) == set(SPLIT.labelled) - set(held_out)
    assert set(rest.unlabelled) == set(shared.unlabelled) - set(held_out)
    assert rest.hash == shared.hash
    assert hold_out(SPLIT, 0) == (SPLIT, ())


def test_the_hold_out_is_a_function_of_the_split_alone_and_grows_by_adding() -> None:
    drawn = [set(hold_out(SPLIT, count)[1]) for count in range(1, 10)]
    assert all(small < large for small, large in itertools.pairwise(drawn))
    assert hold_out(SPLIT, 4) == hold_out(SPLIT, 4)
    others = {hold_out(Split(SPLIT.labelled, (), f"{i}"), 3)[1] for i in range(8)}
    assert len(others) > 4, "another split holds out other images"


def test_something_must_be_left_to_learn_from() -> None:
    with pytest.raises(
        ConfigError,
        match=r"evaluation.num_holdout = 10: the split has 10 labelled images; .* fewer",
    ):
        hold_out(SPLIT, 10)
