"""Keys of recorded metrics, and how MLflow spells them.

    <place>/<metric>                       of the first scored network: final/miou, val/iou/road
    <place>/<network>/<metric>             of the others; also the first one's mIoU where there are
                                           several: final/student_2/miou
    train/<scalar>                         what steps report: train/loss
    system/<what>                          what the run uses of its machine, as MLflow names it

Places are `final` (the run's scores), `val` (an evaluation during training), `holdout` (labelled
images kept out of training) and `train`. A metric of single classes is `<metric>/<class name>`.
"""

import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

FINAL = "final"
VAL = "val"
HOLDOUT = "holdout"
TRAIN = "train"
SYSTEM = "system"
FINAL_STEP = 0
"""Step under which final scores are recorded. A run has one of each, and MLflow draws metrics that
no run has beyond step 0 as bars instead of curves of one point."""
PLACES = (FINAL, VAL, HOLDOUT, TRAIN)
MIOU = "miou"
IOU = "iou"
SECONDS = "seconds"
"""`final/seconds`: wall time of the run over all attempts."""
FINAL_MIOU = f"{FINAL}/{MIOU}"
"""What a table shows unless it says otherwise."""
FINAL_CLASS_IOU = f"{FINAL}/{IOU}/"
NETWORK = re.compile(r"student_\d+|teacher_\d+|ensemble")
"""Names of networks; no metric may be called so."""

MLFLOW_MAX_KEY = 250
"""Longest metric key, in characters, that MLflow stores."""


class Score(Protocol):
    """Scores of one network, as they stand in a run's result."""

    @property
    def network(self) -> str:
        """`student_1`, `teacher_1`, `ensemble` …"""

    @property
    def subset(self) -> str:
        """`val` or `holdout`."""

    @property
    def scores(self) -> Mapping[str, float]:
        """By metric: `miou`, `iou/<class name>` …; NaN where nothing was scored."""


def score_metrics(evaluated: Sequence[Score], place: str) -> dict[str, float]:
    """Metrics of one evaluation, those of the validation images under `place`.

    The first network of each subset has the short keys; where several networks are scored its mIoU
    has both, so that a table can ask for it by the network's name.
    """
    values: dict[str, float] = {}
    for subset, top in ((VAL, place), (HOLDOUT, HOLDOUT)):
        of_subset = [one for one in evaluated if one.subset == subset]
        for position, one in enumerate(of_subset):
            if len(of_subset) > 1:
                values[f"{top}/{one.network}/{MIOU}"] = one.scores[MIOU]
            start = top if position == 0 else f"{top}/{one.network}"
            values |= {f"{start}/{name}": value for name, value in one.scores.items()}
    return values


def final_metrics(evaluated: Sequence[Score], seconds: float) -> dict[str, float]:
    """Metrics of a finished run, its result's: finite ones only, as in the metric log."""
    values = score_metrics(evaluated, FINAL) | {f"{FINAL}/{SECONDS}": seconds}
    return {key: value for key, value in values.items() if math.isfinite(value)}


def metric_of_key(key: str) -> str:
    """What a key measures, without its place and network: `miou`, `iou/road`, `loss`."""
    place, _, rest = key.partition("/")
    if place not in PLACES or not rest:
        return key
    first, _, more = rest.partition("/")
    return more if more and NETWORK.fullmatch(first) else rest


def is_of_the_moment(key: str) -> bool:
    """Whether a key tells how long steps took or what the machine was busy with, which is another
    value each time that the same run is trained."""
    return key == f"{TRAIN}/seconds_per_step" or key.startswith(f"{SYSTEM}/")


def is_class_metric(key: str) -> bool:
    """Whether a key is about a single class; a run has as many of them as the data have classes."""
    return "/" in metric_of_key(key)


# MLflow takes letters, digits, `_`, `.`, `-`, blanks, `:` and `/` as long as the key, read as a
# path, is in its shortest form. Whatever else a class name holds is written as `-.<hexadecimal
# number of the character>-`, so that keys which MLflow takes anyway stay what they are, different
# keys stay different, and the true key can be read back.
_ESCAPED = re.compile(r"-\.([0-9a-f]+)-")
_REFUSED = re.compile(
    r"[^\w.\- :/]"  # characters that MLflow refuses
    r"|-(?=\.)"  # what would look like an escape
    r"|(?<![^/])/|/\Z"  # a slash that begins or ends a key, or follows another one
    r"|(?<![^/])\.(?=\.?(?:/|\Z))"  # the first dot of a part that is `.` or `..`
)


def to_mlflow_key(key: str) -> str:
    """The key under which MLflow has a metric or parameter; the key itself where MLflow takes it.

    A key that is longer than MLflow stores is cut and ends in a hash of the whole: still unique,
    but the only kind that `from_mlflow_key` cannot read back.
    """
    safe = _REFUSED.sub(lambda found: f"-.{ord(found[0]):x}-", key)
    if len(safe) <= MLFLOW_MAX_KEY:
        return safe
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    return f"{safe[: MLFLOW_MAX_KEY - len(digest) - 1].rstrip('/. ')}-{digest}"


def from_mlflow_key(key: str) -> str:
    """The key that `to_mlflow_key` was given."""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), key)


def from_mlflow_keys(metrics: Mapping[str, float]) -> dict[str, float]:
    """Metrics as MLflow has them, by their true keys."""
    return {from_mlflow_key(key): value for key, value in metrics.items()}


def without_class_metrics(keys: Iterable[str]) -> list[str]:
    """The keys that are about all classes together, sorted."""
    return sorted(key for key in keys if not is_class_metric(key))
