"""What a run measured over its steps, thinned out so that a browser can draw it."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rml_dashboards.contract.metric_keys import MIOU, TRAIN, VAL, is_class_metric
from rml_dashboards.live.reading.watch import Trail
from rml_dashboards.records.reader import Histories
from rml_dashboards.statistics.thinning import kept_places

LOSS = f"{TRAIN}/loss"
VAL_MIOU = f"{VAL}/{MIOU}"
MAX_METRICS = 24
"""Curves in one answer."""
Numbers = npt.NDArray[np.float64]


def curves(
    histories: Histories, run_id: str, metrics: Collection[str], trail: Trail, num_points: int
) -> dict[str, Any]:
    """Curves of the wanted metrics, and the names of all that the run has.

    Measured values count as far as a stored checkpoint covers them; `live` is what a running run
    has said since, of its loss and its mIoU only.
    """
    wanted = wanted_metrics(metrics)
    known = set(histories.keys.get(run_id, frozenset()))
    live = _live(trail)
    shown = {}
    for metric in wanted:
        own = histories.values[histories.values["metric"] == metric]
        steps = own["step"].to_numpy(dtype=np.float64)
        values = own["value"].to_numpy(dtype=np.float64)
        last = steps[-1] if len(steps) else -1.0
        since = [point for point in live.get(metric, ()) if point[0] > last]
        if len(steps) or since:
            shown[metric] = {
                "points": thinned(steps, values, num_points),
                "count": len(steps),
                "live": since[-num_points:],
            }
    known |= {metric for metric in (LOSS, VAL_MIOU) if live.get(metric)}
    return {"run_id": run_id, "curves": shown, "metrics": in_order(known)}


def wanted_metrics(metrics: Collection[str]) -> list[str]:
    """Each once, and no more than one answer holds."""
    return list(dict.fromkeys(metrics))[:MAX_METRICS]


def thinned(steps: Numbers, values: Numbers, num_points: int) -> list[tuple[float, float]]:
    """At most about `num_points` points: of equal stretches of steps the lowest and the highest
    value, and the first and last point, so that no peak is lost."""
    places = kept_places(values, num_points)
    return list(zip(steps[places].tolist(), values[places].tolist(), strict=True))


def in_order(metrics: Iterable[str]) -> list[str]:
    """Names of metrics: loss and mIoU first, those of single classes last."""
    first = {LOSS: 0, VAL_MIOU: 1}
    return sorted(metrics, key=lambda key: (first.get(key, 2), is_class_metric(key), key))


def _live(trail: Trail) -> dict[str, Sequence[tuple[float, float]]]:
    losses = [(float(step), loss) for step, loss, _ in trail if loss is not None]
    scores: list[tuple[float, float]] = []
    for step, _, miou in trail:
        if miou is not None and (not scores or scores[-1][1] != miou):
            scores.append((float(step), miou))
    # The first score was there when watching began: its evaluation was some steps earlier.
    return {LOSS: losses, VAL_MIOU: scores[1:]}
