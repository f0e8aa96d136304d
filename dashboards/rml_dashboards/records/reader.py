"""Everything that runs reported of some metrics over time, read from MLflow. Not kept in the
ledger: it is large, and a figure is drawn seldom."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from rml_dashboards.errors import DashboardError
from rml_dashboards.records.mlflow_reader import impatient_client

COLUMNS = ("mlflow_run_id", "metric", "step", "value")


@dataclass(frozen=True, kw_only=True)
class Histories:
    """Recorded values of some metrics of some runs."""

    values: pd.DataFrame
    """Long form, by step within run and metric: mlflow_run_id, metric, step, value (as recorded,
    finite)."""
    keys: dict[str, frozenset[str]]
    """MLflow run id → every metric that the run has recorded, wanted or not."""


def read_histories(
    tracking_uri: str, mlflow_run_ids: Iterable[str], metrics: Collection[str]
) -> Histories:
    """Histories of the wanted metrics, one request per run and metric that it has (the client has
    no wider one).

    Raises DashboardError when the store cannot be read.
    """
    keys: dict[str, frozenset[str]] = {}
    rows: list[tuple[str, str, int, int, float]] = []
    try:
        with impatient_client(tracking_uri) as client:
            for run in dict.fromkeys(mlflow_run_ids):
                keys[run] = frozenset(client.get_run(run).data.metrics)
                for metric in sorted(keys[run] & set(metrics)):
                    history = client.get_metric_history(run, metric)
                    rows += [
                        (run, metric, point.step, point.timestamp, point.value) for point in history
                    ]
    except (MlflowException, SQLAlchemyError, FileNotFoundError) as error:
        reason = str(error).splitlines()[0]
        raise DashboardError(
            f"the MLflow store cannot be read: {reason}. Figures need what runs reported over "
            "time, which only the "
            "store has; launch the study first, or give its --tracking-uri"
        ) from error
    frame = pd.DataFrame(rows, columns=["mlflow_run_id", "metric", "step", "time", "value"])
    # A database stores the largest float in the place of infinity.
    frame = frame[frame["value"].astype(float).abs() < np.finfo(np.float64).max]
    frame = frame.sort_values(["mlflow_run_id", "metric", "step", "time"], kind="stable")
    # A step that was reported twice (by an attempt that died unseen, say) has the later value.
    frame = frame.drop_duplicates(["mlflow_run_id", "metric", "step"], keep="last")
    return Histories(values=frame[list(COLUMNS)].reset_index(drop=True), keys=keys)
