"""Recorded runs for the tests of the tables: as plain values, and in a real MLflow store on
SQLite."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from mlflow import MlflowClient
from mlflow.entities import Metric, Run, RunTag

from rml_dashboards.contract.states import Status
from rml_dashboards.records.mlflow_reader import MlflowReader
from rml_dashboards.records.recorded_run import RecordedRun
from rml_dashboards.records.records import Records

PROTOCOL = "scenes-32x48/teacher_1/last"
NOON = 1_793_880_000_000  # 2026-11-05 12:00:00 UTC, in ms


def tags_of(run_id: str, **tags: str) -> dict[str, str]:
    """Tags as the tracker writes them; keyword arguments give others (without the `rml.`)."""
    plain = {
        "run_id": run_id,
        "seed": "0",
        "protocol": PROTOCOL,
        "code_version": "abc1234",
        "dirty": "false",
    }
    return {
        f"rml.{key}": value
        for key, value in {**plain, "device": "cpu", "attempt": "1", **tags}.items()
    }


def recorded(
    run_id: str,
    miou: float | None = None,
    *,
    status: str = "FINISHED",
    mlflow_run_id: str | None = None,
    start_ms: int = NOON,
    scores: dict[str, float] | None = None,
    **tags: str,
) -> RecordedRun:
    """One run as the ledger keeps it."""
    final = {} if miou is None else {"final/miou": miou, "final/accuracy": 0.9}
    return RecordedRun(
        mlflow_run_id=mlflow_run_id or f"mlflow-{run_id}",
        experiment_id="1",
        experiment="study",
        status=cast(Status, status),
        deleted=False,
        start_ms=start_ms,
        end_ms=None if status == "RUNNING" else start_ms + 60_000,
        tags=tags_of(run_id, **tags),
        scores={**final, **(scores or {})},
    )


def read_records(uri: str, ledger_folder: Path, *, fresh: bool = False) -> Records:
    """All runs of an MLflow store."""
    return MlflowReader(uri, ledger_folder, fresh=fresh).records()


def recorded_runs(client: MlflowClient) -> list[Run]:
    """Every run of ours in a store; a study's summary, which is no run, is not among them."""
    experiments = [e.experiment_id for e in client.search_experiments()]
    return list(client.search_runs(experiments, "tags.`rml.run_id` LIKE '%'"))


@dataclass
class Store:
    """An MLflow store that a test may change."""

    file: Path
    client: MlflowClient

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.file}"

    @classmethod
    def open(cls, file: Path) -> "Store":
        """Open the file; MLflow makes its tables when there is none (seconds)."""
        return cls(file=file, client=MlflowClient(f"sqlite:///{file}"))

    @classmethod
    def copy(cls, template: Path, file: Path) -> "Store":
        """A store of its own in an instant: a copy of an empty one."""
        shutil.copyfile(template, file)
        return cls.open(file)

    def experiment(self, name: str = "study") -> str:
        """Id of the experiment, made when there is none."""
        found = self.client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        return str(
            self.client.create_experiment(
                name, artifact_location=(self.file.parent / "artifacts").as_uri()
            )
        )

    def add(
        self,
        run_id: str,
        miou: float | None = None,
        *,
        status: str = "FINISHED",
        study: str = "study",
        start_ms: int = NOON,
        scores: dict[str, float] | None = None,
        **tags: str,
    ) -> str:
        """Record a run as the tracker does and return its MLflow run id."""
        run = self.client.create_run(
            self.experiment(study), tags=tags_of(run_id, **tags), start_time=start_ms
        )
        final = {} if miou is None else {"final/miou": miou, "final/accuracy": 0.9}
        metrics = {"train/loss": 1.0, **final, **(scores or {})}
        self.client.log_batch(
            run.info.run_id, metrics=[Metric(k, v, start_ms, 10) for k, v in metrics.items()]
        )
        if status != "RUNNING":
            self.client.set_terminated(run.info.run_id, status, end_time=start_ms + 60_000)
        return str(run.info.run_id)

    def report(self, mlflow_run_id: str, key: str, values: Mapping[int, float]) -> None:
        """Record a metric at several steps."""
        points = [Metric(key, value, NOON + step, step) for step, value in values.items()]
        self.client.log_batch(mlflow_run_id, metrics=points)

    def add_foreign(self) -> None:
        """A run that somebody else keeps in the same store: it has no run id of ours."""
        run = self.client.create_run(self.experiment("other"), start_time=NOON)
        self.client.log_batch(run.info.run_id, tags=[RunTag("mlflow.runName", "other")])
        self.client.set_terminated(run.info.run_id, "FINISHED", end_time=NOON + 1)

    def finish(self, mlflow_run_id: str, miou: float, *, end_ms: int) -> None:
        """Give a running run its score and end it."""
        self.client.log_batch(mlflow_run_id, metrics=[Metric("final/miou", miou, end_ms, 10)])
        self.client.set_terminated(mlflow_run_id, "FINISHED", end_time=end_ms)
