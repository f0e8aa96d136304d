"""The JSON of an evaluation: NaN, earlier forms, and what is refused."""

import json
import math
from typing import Any

import numpy as np
import pytest

from rml_trainers.scoring.evaluation_json import evaluation_from_json, evaluation_to_json
from rml_trainers.scoring.metrics import METRICS, scores_of
from rml_trainers.scoring.score import Evaluation

NAN = float("nan")
CONFUSION = np.array([[3, 1, 0], [0, 2, 0], [0, 0, 0]], dtype=np.int64)
GOOD: dict[str, Any] = {
    "protocol": "p/teacher_1/last",
    "network": "teacher_1",
    "subset": "val",
    "scores": {"miou": 0.5, "accuracy": 0.75, "iou/sky": None},
    "confusion": [[3, 1], [0, 2]],
}


def evaluation(**changes: Any) -> Evaluation:
    names = ("road", "sky, clouds (many)", "nothing")
    fields = {
        "protocol": "p/teacher_1/last",
        "network": "teacher_1",
        "scores": scores_of(CONFUSION, names),
        "confusion": CONFUSION,
        **changes,
    }
    return Evaluation(**fields)


def through_json(value: Evaluation) -> Evaluation:
    return evaluation_from_json(json.loads(json.dumps(evaluation_to_json(value), allow_nan=False)))


@pytest.mark.parametrize("subset", ["val", "holdout"])
def test_an_evaluation_comes_back_bit_by_bit(subset: str) -> None:
    saved = evaluation(subset=subset)
    back = through_json(saved)
    assert (back.protocol, back.network, back.subset) == (saved.protocol, "teacher_1", subset)
    np.testing.assert_equal(dict(back.scores), dict(saved.scores))
    assert list(back.scores) == list(saved.scores)
    assert math.isnan(back.scores["iou/nothing"])
    np.testing.assert_array_equal(back.confusion, saved.confusion)
    assert back.confusion.dtype == np.int64


def test_every_metric_is_in_it() -> None:
    names = {name.partition("/")[0] for name in through_json(evaluation()).scores}
    assert names == set(METRICS)


def test_a_metric_that_this_code_does_not_know_is_kept() -> None:
    foreign = evaluation(scores={"miou": 0.5, "accuracy": 0.5, "boundary_f1": 0.25})
    assert through_json(foreign).scores["boundary_f1"] == 0.25


@pytest.mark.parametrize("absent", ["NaN", "null"])
def test_the_earlier_forms_are_read(absent: str) -> None:
    """Checkpoints had NaN, results null; the earliest had no subset."""
    text = (
        '{"protocol": "p/teacher_1/last", "network": "teacher_1", "miou": 0.5, "accuracy": 0.75,'
        f'"iou_by_class": {{"road": 0.5, "sky": {absent}}}, "confusion": [[3, 1], [0, 4]]}}'
    )
    back = evaluation_from_json(json.loads(text))
    assert (back.miou, back.accuracy, back.subset) == (0.5, 0.75, "val")
    assert back.iou_by_class["road"] == 0.5 and math.isnan(back.iou_by_class["sky"])
    assert through_json(back).iou_by_class.keys() == {"road", "sky"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": None}, "network = None: expected a text"),
        ({"subset": "test"}, "subset = 'test': expected one of val, holdout"),
        ({"scores": {"miou": "0.5", "accuracy": 1}}, "score miou = '0.5': expected a number"),
        ({"scores": {"miou": True, "accuracy": 1}}, "score miou = True: expected a number"),
        ({"scores": {"miou": 0.5}}, "expected miou and accuracy"),
        ({"scores": []}, "scores: expected an object, found list"),
        ({"confusion": [[1, 2], [3]]}, "as many rows as columns"),
        ({"confusion": [[1, 2], [3, -1]]}, "counts, zero or more"),
        ({"confusion": [[1.5, 2], [3, 4]]}, "counts, zero or more"),
        ({"confusion": None}, "as many rows as columns"),
        ({"more": 1}, r"keys unknown: \['more'\]"),
    ],
)
def test_anything_else_is_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluation_from_json({**GOOD, **change})


def test_a_key_that_lacks_is_named() -> None:
    for key in set(GOOD) - {"subset", "scores"}:
        fields = {name: value for name, value in GOOD.items() if name != key}
        with pytest.raises(ValueError, match=rf"keys absent: \['{key}'\]"):
            evaluation_from_json(fields)
    with pytest.raises(ValueError, match="expected an object, found list"):
        evaluation_from_json([GOOD])
