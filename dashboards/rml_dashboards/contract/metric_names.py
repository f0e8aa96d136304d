"""What people call a recorded metric: `mIoU (%)` beside an axis, and not `final/val/miou`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rml_dashboards.contract.metric_keys import HOLDOUT, NETWORK, metric_of_key

QUANTITIES = {
    "miou": "mIoU",
    "iou": "IoU",
    "accuracy": "pixel accuracy",
    "class_accuracy": "class accuracy",
    "fwiou": "frequency-weighted IoU",
    "dice": "Dice",
    "kept": "share of pixels kept",
}
"""Shares, in per cent where they are multiplied by 100."""
WALL_TIME = "wall time"
COUPLING = "total variation distance"
PSEUDO_LABEL = re.compile(r"pseudo_label(?:_(\d+))?(_unrectified)?_(miou|iou|accuracy|kept)")
LOSS = re.compile(r"loss_([a-z_]+?)(?:_(\d+))?")
PER_CENT = 100.0


@dataclass(frozen=True)
class _Name:
    quantity: str
    of: str = ""
    """What it is measured on, where that is not plain."""
    is_share: bool = False
    unit: str = ""

    @property
    def whole(self) -> str:
        return f"{self.quantity} {self.of}".strip()


def metric_name(key: str) -> str:
    """A metric in words: `mIoU of student 2`, `IoU of road`, `mIoU of pseudo labels 1`."""
    return _named(key).whole


def is_share(key: str) -> bool:
    """Whether a metric is a share, between 0 and 1 as it is recorded; False where that is not
    known."""
    return _named(key).is_share


def axis_label(keys: Sequence[str], scale: float) -> str:
    """Quantity and unit of an axis that shows metrics, each times `scale`.

    Several metrics of one quantity are told apart by a legend: the axis names the quantity.
    """
    names = [_named(key) for key in keys]
    if len(names) == 1:
        return f"{names[0].whole}{_unit(names[0], scale)}"
    return "\n".join(dict.fromkeys(f"{name.quantity}{_unit(name, scale)}" for name in names))


def _unit(name: _Name, scale: float) -> str:
    if name.is_share and scale == PER_CENT:
        return " (%)"
    times = f" × {scale:g}" if scale != 1 else ""
    return times or (f" ({name.unit})" if name.unit else "")


def _named(key: str) -> _Name:
    metric = metric_of_key(key)
    known = _of_training(metric) or _score(key, metric)
    return known or _Name(metric.replace("_", " ").replace("/", ", "))


def _score(key: str, metric: str) -> _Name | None:
    kind, _, class_name = metric.partition("/")
    if kind not in QUANTITIES:
        return None
    parts = [f"of {class_name}"] if class_name else []
    network = next((part for part in key.split("/")[1:2] if NETWORK.fullmatch(part)), "")
    parts += [f"of {network.replace('_', ' ')}"] if network else []
    parts += ["on held-out images"] if key.startswith(f"{HOLDOUT}/") else []
    return _Name(QUANTITIES[kind], ", ".join(parts), is_share=True)


def _of_training(metric: str) -> _Name | None:
    if metric == "loss":
        return _Name("training loss")
    if metric == "seconds":
        return _Name(WALL_TIME, unit="s")
    if metric.startswith("coupling_tv"):
        pair = metric.rpartition("_")[2]
        return _Name(COUPLING, f"of {pair}" if pair in ("students", "teachers") else "")
    kind, _, class_name = metric.partition("/")
    labels = PSEUDO_LABEL.fullmatch(kind)
    if labels:
        number, before, what = labels.groups()
        parts = [f"of {class_name}"] if class_name else []
        parts += [f"of pseudo labels {number or ''}".strip()]
        whose = ", ".join(parts) + (" before rectification" if before else "")
        return _Name(QUANTITIES[what], whose, is_share=True)
    loss = LOSS.fullmatch(metric)
    if loss:
        whose = f" {loss[2]}" if loss[2] else ""
        return _Name("loss", f"({loss[1].replace('_', ' ')}{whose})")
    return None
