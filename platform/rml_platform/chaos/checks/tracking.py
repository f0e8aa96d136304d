"""What MLflow has of the runs of a round: each once, with every value once."""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from rml_dashboards.contract.metric_keys import to_mlflow_key
from rml_dashboards.contract.tags import SUMMARY, Tag
from rml_platform.chaos.checks.fingerprints import Fingerprint
from rml_platform.run.metric_log import Point


def make_empty(file: Path) -> None:
    """A database of MLflow with nothing in it, unless it is there: copied for every round, because
    to make its tables takes as long as to train a small study."""
    if file.is_file():
        return
    from mlflow import MlflowClient

    logging.getLogger("alembic").setLevel(logging.ERROR)
    making = file.with_suffix(".making")
    making.unlink(missing_ok=True)
    MlflowClient(tracking_uri=f"sqlite:///{making.resolve()}").search_experiments(max_results=1)
    making.rename(file)


def tracking_faults(uri: str, runs: Mapping[str, Fingerprint]) -> list[str]:
    """What is missing, double or not ended in the store, one sentence each."""
    from mlflow import MlflowClient

    logging.getLogger("alembic").setLevel(logging.ERROR)
    client = MlflowClient(tracking_uri=uri)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    recorded: dict[str, list[tuple[str, str]]] = {}
    for run in client.search_runs(experiments, max_results=1000):
        if SUMMARY in run.data.tags:
            continue  # a study's table, which is no run
        run_id = run.data.tags.get(Tag.RUN_ID.value, "without a run id")
        recorded.setdefault(run_id, []).append((run.info.run_id, run.info.status))
    faults = [f"MLflow run of {i}, which is no run" for i in recorded if i not in runs]
    for run_id, fingerprint in runs.items():
        found = recorded.get(run_id, [])
        if len(found) != 1:
            faults.append(f"{run_id} has {len(found)} MLflow runs")
            continue
        (mlflow_run, status) = found[0]
        if status != "FINISHED":
            faults.append(f"{run_id} is {status} in MLflow")
        keys = {to_mlflow_key(key) for key, _, _ in fingerprint.history}
        values = (m for key in sorted(keys) for m in client.get_metric_history(mlflow_run, key))
        there = Counter((m.key, m.step, m.value) for m in values)
        faults += _of_values(run_id, there, fingerprint.history)
    return faults


def _of_values(run_id: str, there: Counter[Point], logged: Iterable[Point]) -> list[str]:
    expected = {(to_mlflow_key(key), step, value) for key, step, value in logged}
    double = [point for point, n in there.items() if n > 1]
    what = {
        "missing": expected - there.keys(),
        "not of the run": there.keys() - expected,
        "double": set(double),
    }
    return [
        f"{run_id}: {len(points)} values {name} in MLflow, the first {min(points)}"
        for name, points in what.items()
        if points
    ]
