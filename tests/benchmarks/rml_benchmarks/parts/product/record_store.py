"""A made-up MLflow database of many runs of our usual size, written straight into its tables."""

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from mlflow import MlflowClient

from rml_dashboards.contract.metric_keys import FINAL_MIOU
from rml_dashboards.contract.tags import Tag
from rml_dashboards.records.ledger import Ledger, save_ledger
from rml_dashboards.records.run_table import SCHEMA

NUM_PARAMS = 84
CLASSES = tuple(f"class {number}" for number in range(30))
NUM_SEEDS = 5
BEGAN_MS = 1_790_000_000_000
APART_MS = 600_000
"""Time between two runs: a store grows over months, and few of its runs ended within the hour."""
METRICS = (
    FINAL_MIOU,
    "final/seconds",
    *(f"final/iou/{name}" for name in CLASSES),
    *("val/miou", "val/loss", "train/loss", "train/lr", "train/seconds_per_step", "holdout/miou"),
)
"""38, as a run of ours on thirty classes has."""
RARE = {Tag.FAILURE, Tag.MICRO_BATCHES, Tag.PLUGINS, Tag.REPEAT_OF}
"""Tags of runs that failed, ran out of memory, repeat another or use plug-ins."""


@dataclass(frozen=True, kw_only=True)
class MadeRun:
    """One run of the store: cell and seed follow from its number."""

    number: int

    @property
    def run_id(self) -> str:
        return f"cityscapes-372-rml-s{self.seed}-{self.number:08x}"

    @property
    def mlflow_run_id(self) -> str:
        return hashlib.md5(str(self.number).encode(), usedforsecurity=False).hexdigest()

    @property
    def cell(self) -> int:
        return self.number // NUM_SEEDS

    @property
    def seed(self) -> int:
        return self.number % NUM_SEEDS

    @property
    def end_ms(self) -> int:
        return BEGAN_MS + (self.number + 1) * APART_MS

    def tags(self) -> dict[str, str]:
        """Every one that a usual run has."""
        own = {tag.value: f"{tag.short} of this run" for tag in Tag if tag not in RARE}
        return own | {
            Tag.RUN_ID: self.run_id,
            Tag.SEED: str(self.seed),
            Tag.ATTEMPT: "1",
            Tag.DIRTY: "false",
            Tag.PROTOCOL: "cityscapes-512x1024/teacher_1/last",
            Tag.SPLIT_HASH: f"split{self.seed}",
        }


def made_runs(num_runs: int) -> list[MadeRun]:
    """The runs of a store of this size."""
    return [MadeRun(number=number) for number in range(num_runs)]


def make_store(file: Path, num_runs: int) -> str:
    """Make the database and return its tracking URI."""
    uri = f"sqlite:///{file}"
    experiment = MlflowClient(uri).create_experiment("many")
    rng = np.random.default_rng(0)
    with sqlite3.connect(file) as database:
        for table, rows in _rows(made_runs(num_runs), int(experiment), rng):
            marks = ", ".join("?" * len(rows[0]))
            columns = ", ".join(rows[0])
            values = [tuple(row.values()) for row in rows]
            database.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", values)
    return uri


def made_ledger(file: Path, num_runs: int) -> None:
    """The ledger of such a store as it is once all of it has been read, made column by column."""
    runs = made_runs(num_runs)
    rng = np.random.default_rng(0)
    tags = [sorted(run.tags().items()) for run in runs]
    keys = sorted(METRICS)
    ends_of_runs: Any = pa.array(np.arange(num_runs + 1, dtype=np.int32) * len(keys))
    scores = pa.MapArray.from_arrays(
        ends_of_runs,
        pa.array(keys * num_runs),
        pa.array(rng.random(num_runs * len(keys))),
    )
    ends = np.array([run.end_ms for run in runs])
    columns: dict[str, Any] = {
        "mlflow_run_id": [run.mlflow_run_id for run in runs],
        "experiment_id": ["1"] * num_runs,
        "experiment": ["many"] * num_runs,
        "status": ["FINISHED"] * num_runs,
        "deleted": [False] * num_runs,
        "start_ms": ends - APART_MS,
        "end_ms": ends,
        "tags": tags,
        "scores": scores,
    }
    table = pa.table({name: columns[name] for name in SCHEMA.names}, schema=SCHEMA)
    save_ledger(Ledger(table=table, experiments={"1": BEGAN_MS}), file)


def _rows(
    runs: list[MadeRun], experiment: int, rng: np.random.Generator
) -> Iterator[tuple[str, list[dict[str, object]]]]:
    """Tables of MLflow with rows for them, a thousand runs at a time."""
    for start in range(0, len(runs), 1000):
        some = runs[start : start + 1000]
        yield "runs", [_run(run, experiment) for run in some]
        yield (
            "tags",
            [
                {"key": key, "value": value, "run_uuid": run.mlflow_run_id}
                for run in some
                for key, value in run.tags().items()
            ],
        )
        yield (
            "params",
            [
                {"key": f"setting.{i}", "value": json.dumps(i), "run_uuid": run.mlflow_run_id}
                for run in some
                for i in range(NUM_PARAMS)
            ],
        )
        yield "latest_metrics", [_metric(run, key, rng.random()) for run in some for key in METRICS]


def _run(run: MadeRun, experiment: int) -> dict[str, object]:
    return {
        "run_uuid": run.mlflow_run_id,
        "name": run.run_id,
        "user_id": "",
        "source_type": "UNKNOWN",
        "status": "FINISHED",
        "start_time": run.end_ms - APART_MS,
        "end_time": run.end_ms,
        "lifecycle_stage": "active",
        "artifact_uri": "",
        "experiment_id": experiment,
    }


def _metric(run: MadeRun, key: str, value: float) -> dict[str, object]:
    return {
        "key": key,
        "value": value,
        "timestamp": run.end_ms,
        "step": 10,
        "is_nan": False,
        "run_uuid": run.mlflow_run_id,
    }
