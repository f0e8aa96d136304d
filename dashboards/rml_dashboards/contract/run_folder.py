"""The files of a run's folder `<storage>/runs/<run id>/`, as far as others than the platform read
them.

The folder is the record of a run, complete without any tracker: `rml_platform.run` writes it.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rml_dashboards.contract.metric_keys import IOU, VAL

NO_TRACKER = "none"
"""Tracking URI of those who want no tracker beside the run folders."""
RUNS = "runs"
TASK_FILE = "task.json"
"""What was asked for: `config_json`, `study`, hashes, version of the code."""
HEARTBEAT_FILE = "heartbeat.json"
"""Where the run stands: `state`, `time`, `seconds`, `checkpoint_step`, `worker` …"""
RESULT_FILE = "result.json"
"""Final scores (`evaluations`), `steps`, `seconds`, `time`; a run that has it is done."""
PLACE_IN_RESULT = frozenset({"host", "device", "attempt"})
"""What a result says of where its run was at work, should the heartbeat be lost."""
FAILURE_FILE = "failure.json"
"""Why the last attempt failed: `kind`, `message`, `time`."""
PREDICTIONS = "predictions"
"""Folder of pictures of validation images, `<image>.png`: image, truth and prediction side by
side."""
STUDIES = "studies"
"""Folder with an empty file for each study that has the run, named after it."""
PIECES = "metrics"
"""Folder of everything measured, in pieces, one for each stored checkpoint; a piece is a list of
[key, step, time in ms, value]."""
END_PIECE = "end.json"
"""What was measured after the last checkpoint of a finished run."""

_PIECE_NAME = re.compile(r"([0-9]{9,})\.json")

Piece = Sequence[tuple[str, int, int, float]]
"""Key, step, time in milliseconds since 1970, value."""


def seconds_and_steps(
    *, seconds: float, step: int, first_step: int, start_up_s: float, start_up_steps: int
) -> tuple[float, int]:
    """Seconds and steps that tell how fast a run that is not done goes, from its heartbeat: the
    steps that it made itself, over all attempts, without what these took to start up. Of what is
    left that is no part, and at the beginning it is nearly all."""
    return seconds - start_up_s, step - first_step - start_up_steps


def piece_name(step: int) -> str:
    """File of the piece that the checkpoint of a step covers."""
    return f"{step:09d}.json"


def step_of_piece(name: str) -> int | None:
    """Step of the checkpoint that covers a piece; None for any other file, such as one that a file
    system or an editor has left among them."""
    named = _PIECE_NAME.fullmatch(name)
    return int(named[1]) if named else None


def pieces_between(names: Iterable[str], first: float, last: float) -> list[tuple[int, str]]:
    """Step and file of the pieces with first < step <= last, in order.

    `last` = infinity includes the end piece, whose step is that of the piece before it (or `first`
    where there is none). A piece beyond the newest stored checkpoint will be measured again.
    """
    known = sorted(names)
    covered = [(step, name) for name in known if (step := step_of_piece(name)) is not None]
    chosen = [(step, name) for step, name in covered if first < step <= last]
    if last == math.inf and END_PIECE in known:
        before = max([first, *(step for step, _ in chosen)])
        chosen.append((int(before), END_PIECE))
    return chosen


@dataclass(frozen=True, kw_only=True)
class RecordedScore:
    """Scores of one network, read from a result."""

    protocol: str
    network: str
    subset: str
    scores: Mapping[str, float]
    """By metric, NaN where nothing was scored."""


def recorded_scores(result: Mapping[str, Any]) -> tuple[RecordedScore, ...]:
    """The scores in the content of result.json.

    Raises AttributeError, KeyError, TypeError or ValueError where it is not a result.
    """
    if not result["evaluations"]:
        raise ValueError("no evaluations")
    return tuple(_recorded_score(value) for value in result["evaluations"])


def _recorded_score(value: Mapping[str, Any]) -> RecordedScore:
    return RecordedScore(
        protocol=value["protocol"],
        network=value["network"],
        subset=value.get("subset", VAL),
        scores={
            name: math.nan if score is None else float(score)
            for name, score in scores_of_json(value).items()
        },
    )


def scores_of_json(value: Mapping[str, Any]) -> dict[str, float | None]:
    """Scores by metric in the JSON of an evaluation, null where nothing was scored.

    Before there was a dictionary of metrics, mIoU, pixel accuracy and the IoU of the classes had
    fields of their own.
    """
    if "scores" in value:
        return dict(value["scores"])
    by_class = {f"{IOU}/{name}": iou for name, iou in value["iou_by_class"].items()}
    return {"miou": value["miou"], "accuracy": value["accuracy"], **by_class}
