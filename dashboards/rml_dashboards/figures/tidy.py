"""What runs reported within a figure's stages, one line per value."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from rml_dashboards.figures.specification import CurveRun, FigureSpec
from rml_dashboards.records.reader import Histories

Places = npt.NDArray[np.int64]
NOWHERE: Places = np.zeros(0, dtype=np.int64)
TIDY = (
    "figure",
    "row",
    "column",
    "metric",
    "label",
    "seed",
    "step",
    "x",
    "value",
    "run_id",
    "mlflow_run_id",
    "in_mean",
)


def tidy_values(
    spec: FigureSpec, runs: pd.DataFrame, histories: Histories, mlflow_ids: Mapping[str, str]
) -> pd.DataFrame:
    """What was recorded of the runs within the figure's stages, one line per value; `mlflow_ids` by
    run id.

    `mlflow_run_id` is where the value stands: another run's, for steps that a run took over from
    it; `is_own` tells the two apart.
    """
    reported = _Reported(histories.values)
    parts = [
        _within(run, metric.key, reported) for run in spec.runs for metric in spec.metrics
    ] or [NOWHERE]
    counts = np.array([len(part) for part in parts], dtype=np.int64)
    num_metrics = len(spec.metrics)
    pair = np.repeat(np.arange(len(parts)), counts)
    run = pair // num_metrics
    metric = pair % num_metrics
    found = histories.values.iloc[np.concatenate(parts)].reset_index(drop=True)
    first_steps = np.array([own.first_step for own in spec.runs], dtype=np.int64)
    finished = np.array([state == "done" for state in runs["state"]], dtype=bool)[run]
    run_id = _texts([own.run_id for own in spec.runs], run)
    frame = pd.DataFrame(
        {
            "figure": _texts([spec.name], np.zeros(len(run), dtype=np.int64)),
            "row": _texts([own.row for own in spec.runs], run),
            "column": _texts([own.column for own in spec.runs], run),
            "metric": _texts([one.key for one in spec.metrics], metric),
            "label": _texts([one.label for one in spec.metrics], metric),
            "seed": np.array([own.seed for own in spec.runs], dtype=np.int64)[run],
            "step": found["step"],
            "x": found["step"] - first_steps[run],
            "value": found["value"],
            "run_id": run_id,
            "mlflow_run_id": found["run_id"].map(mlflow_ids),
            "in_mean": finished,
            "is_own": found["run_id"].to_numpy() == np.asarray(run_id),
        }
    )
    some_finished = frame.groupby(["row", "column", "metric"])["in_mean"].transform("any")
    frame["in_mean"] |= ~some_finished.astype(bool)
    return frame


class _Reported:
    """Places of recorded values by run and metric, so that none is looked for twice."""

    def __init__(self, values: pd.DataFrame) -> None:
        self.steps = values["step"].to_numpy(dtype=np.int64)
        places: Any = values.groupby(["run_id", "metric"]).indices
        self._places: dict[tuple[str, str], Places] = dict(places)
        self.runs = {run_id for run_id, _ in self._places}

    def of(self, run_id: str, key: str, last_step: int | None = None) -> Places:
        places = self._places.get((run_id, key), NOWHERE)
        return places if last_step is None else places[self.steps[places] <= last_step]


def _within(run: CurveRun, key: str, reported: _Reported) -> Places:
    """Where a run's values of a metric stand, by step: what it has reported, and for other steps
    what was reported by runs that train the same first stages; nothing for a new run."""
    if run.run_id not in reported.runs:
        return NOWHERE
    others = [reported.of(other.run_id, key, other.last_step) for other in run.shared_stages]
    places = np.concatenate([reported.of(run.run_id, key), *others])
    steps, firsts = np.unique(reported.steps[places], return_index=True)
    last = np.inf if run.last_step is None else run.last_step
    return places[firsts[(steps >= run.first_step_of(key)) & (steps <= last)]]


def _texts(texts: Sequence[str], places: Places) -> Any:
    return pd.array(list(texts), dtype="str").take(places)
