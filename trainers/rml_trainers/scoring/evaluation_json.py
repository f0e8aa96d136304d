"""The JSON of an evaluation: one writing and one reading, for checkpoints and results alike.

    {"protocol": "…", "network": "teacher_1", "subset": "val",
     "scores": {"miou": 0.61, "iou/sky": null, …}, "confusion": [[…], …]}

A score that is NaN (nothing was scored) is null, because JSON has no NaN.
"""

import math
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from rml_trainers.scoring.score import Evaluation, ScoredSubset

FIELDS = {"protocol", "network", "subset", "scores", "confusion"}
EARLIER_FIELDS = {"protocol", "network", "subset", "miou", "accuracy", "iou_by_class", "confusion"}
"""Before there was a dictionary of metrics; NaN stood as NaN in checkpoints and as null in
results."""


def evaluation_to_json(evaluation: Evaluation) -> dict[str, Any]:
    """Values that `json.dumps(…, allow_nan=False)` takes."""
    return {
        "protocol": evaluation.protocol,
        "network": evaluation.network,
        "subset": evaluation.subset,
        "scores": {
            name: None if math.isnan(score) else score for name, score in evaluation.scores.items()
        },
        "confusion": evaluation.confusion.tolist(),
    }


def evaluation_from_json(value: object) -> Evaluation:
    """The evaluation that `evaluation_to_json` was given, or one written by an earlier version.

    Raises:
        ValueError: a key lacks or is unknown, or a value has another type; the message says which.
    """
    fields = _object("evaluation", value)
    is_earlier = "scores" not in fields
    known = EARLIER_FIELDS if is_earlier else FIELDS
    absent = sorted(known - fields.keys() - {"subset"})
    unknown = sorted(fields.keys() - known)
    if absent or unknown:
        raise ValueError(f"evaluation: keys absent: {absent}, keys unknown: {unknown}")
    scores = _earlier_scores(fields) if is_earlier else _object("scores", fields["scores"])
    if not {"miou", "accuracy"} <= scores.keys():
        raise ValueError(f"scores: expected miou and accuracy among {sorted(scores)}")
    return Evaluation(
        protocol=_text("protocol", fields["protocol"]),
        network=_text("network", fields["network"]),
        scores={name: _score(name, score) for name, score in scores.items()},
        confusion=_confusion(fields["confusion"]),
        subset=_subset(fields.get("subset", "val")),
    )


def _earlier_scores(fields: dict[str, Any]) -> dict[str, Any]:
    by_class = _object("iou_by_class", fields["iou_by_class"])
    overall = {name: fields[name] for name in ("miou", "accuracy")}
    return overall | {f"iou/{name}": iou for name, iou in by_class.items()}


def _object(name: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name}: expected an object, found {type(value).__name__}")
    return value


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} = {value!r}: expected a text")
    return value


def _subset(value: object) -> ScoredSubset:
    for subset in get_args(ScoredSubset):
        if value == subset:
            return subset  # type: ignore[no-any-return]
    raise ValueError(f"subset = {value!r}: expected one of {', '.join(get_args(ScoredSubset))}")


def _score(name: str, value: object) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"score {name} = {value!r}: expected a number or null")
    return float(value)


def _confusion(value: object) -> npt.NDArray[np.int64]:
    rows = value if isinstance(value, list) else []
    is_square = bool(rows) and all(isinstance(row, list) and len(row) == len(rows) for row in rows)
    if not is_square or any(type(count) is not int or count < 0 for row in rows for count in row):
        raise ValueError("confusion: expected as many rows as columns of counts, zero or more")
    return np.array(rows, dtype=np.int64)
