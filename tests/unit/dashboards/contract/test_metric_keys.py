"""Keys of metrics: how they are made of scores, and how MLflow spells them."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rml_dashboards.contract.metric_keys import (
    MLFLOW_MAX_KEY,
    final_metrics,
    from_mlflow_key,
    is_class_metric,
    is_of_the_moment,
    metric_of_key,
    score_metrics,
    to_mlflow_key,
)
from tests.support.platform.hostile_names import HOSTILE_NAMES


@pytest.mark.parametrize(
    ("key", "is_another_each_time"),
    [
        ("train/seconds_per_step", True),
        ("system/cpu_utilization_percentage", True),
        ("system/gpu_0_memory_usage_megabytes", True),
        ("train/loss", False),
        ("val/iou/system/a", False),
        ("systems/miou", False),
    ],
)
def test_which_values_are_others_each_time(key: str, is_another_each_time: bool) -> None:
    assert is_of_the_moment(key) is is_another_each_time


def is_taken_by_mlflow(key: str) -> bool:
    from mlflow.utils.validation import _validate_metric_name

    try:
        _validate_metric_name(key)
    except Exception:
        return False
    return len(key) <= MLFLOW_MAX_KEY


@pytest.mark.parametrize(
    "key",
    [
        "final/miou",
        "val/student_2/iou/night sky",
        "final/iou/Straße",
        "final/iou/a-b_c.d: e",
        "final/iou/road/paved",
        "final/iou/...",
        "train/pseudo_label_1_unrectified_miou",
        "train/a - b",
    ],
)
def test_a_key_that_mlflow_takes_stays_what_it_is(key: str) -> None:
    assert is_taken_by_mlflow(key)
    assert to_mlflow_key(key) == key == from_mlflow_key(key)


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_key_that_mlflow_refuses_is_spelt_otherwise_and_read_back(name: str) -> None:
    key = f"final/iou/{name}"
    assert is_taken_by_mlflow(to_mlflow_key(key))
    assert from_mlflow_key(to_mlflow_key(key)) == key


def test_the_hostile_names_are_hostile() -> None:
    refused = [name for name in HOSTILE_NAMES if not is_taken_by_mlflow(f"final/iou/{name}")]
    assert len(refused) > len(HOSTILE_NAMES) / 2


TRICKY = st.text(st.sampled_from("-.x/2e8 ()a_:%\n\t&é"), max_size=12)


@given(st.one_of(st.text(max_size=40), TRICKY))
@example("-.28-")
@example("-.28(")
@example("..")
@example("a//b/./..")
def test_any_name_has_a_key_of_its_own(name: str) -> None:
    key = f"final/iou/{name}"
    assert from_mlflow_key(to_mlflow_key(key)) == key
    assert is_taken_by_mlflow(to_mlflow_key(key)) or len(key) > 40


@given(TRICKY)
def test_the_spelling_is_taken_whole(name: str) -> None:
    assert is_taken_by_mlflow(to_mlflow_key(f"val/iou/{name}"))


def test_keys_too_long_for_mlflow_stay_different() -> None:
    keys = [f"final/iou/{'x' * 300}{end}" for end in ("", "(", "/a")]
    spelt = [to_mlflow_key(key) for key in keys]
    assert len(set(spelt)) == 3
    assert all(is_taken_by_mlflow(key) for key in spelt)
    shortest = f"final/iou/{'x' * (MLFLOW_MAX_KEY - 10)}"
    assert to_mlflow_key(shortest) == shortest


@dataclass(frozen=True)
class Scored:
    network: str
    subset: str = "val"
    scores: dict[str, float] = field(default_factory=lambda: {"miou": 0.5, "iou/sky": 0.25})


@pytest.mark.parametrize(
    ("evaluated", "expected"),
    [
        ([Scored("teacher_1")], {"final/miou": 0.5, "final/iou/sky": 0.25}),
        (
            [Scored("teacher_1"), Scored("student_2", scores={"miou": 0.1})],
            {
                "final/miou": 0.5,
                "final/iou/sky": 0.25,
                "final/teacher_1/miou": 0.5,
                "final/student_2/miou": 0.1,
            },
        ),
        (
            [Scored("teacher_1"), Scored("teacher_1", "holdout", {"miou": 0.2})],
            {"final/miou": 0.5, "final/iou/sky": 0.25, "holdout/miou": 0.2},
        ),
    ],
)
def test_keys_of_an_evaluation(evaluated: list[Any], expected: dict[str, float]) -> None:
    assert score_metrics(evaluated, "final") == expected


def test_what_was_not_scored_is_no_metric_of_a_finished_run() -> None:
    nothing = Scored("teacher_1", scores={"miou": float("nan"), "accuracy": 0.5})
    assert final_metrics([nothing], 3.0) == {"final/accuracy": 0.5, "final/seconds": 3.0}


@pytest.mark.parametrize(
    ("key", "metric", "of_a_class"),
    [
        ("final/miou", "miou", False),
        ("val/student_2/miou", "miou", False),
        ("final/teacher_1/iou/a/b", "iou/a/b", True),
        ("final/iou/teacher_1", "iou/teacher_1", True),
        ("train/loss", "loss", False),
        ("train/pseudo_label_1_miou", "pseudo_label_1_miou", False),
        ("train/pseudo_label_1_iou/a/b", "pseudo_label_1_iou/a/b", True),
        ("other", "other", False),
    ],
)
def test_what_a_key_measures(key: str, metric: str, of_a_class: bool) -> None:
    assert metric_of_key(key) == metric
    assert is_class_metric(key) == of_a_class
