"""MLflow and the run folders alone tell the dashboards the same: runs, scores, curves, tables."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from rml_dashboards.contract.run_folder import recorded_scores
from rml_dashboards.contract.states import CANCELLED
from rml_dashboards.records.mlflow_reader import MlflowReader
from rml_dashboards.records.run_folder_reader import RunFolderReader
from rml_dashboards.tables.publish import load_table
from rml_dashboards.tables.specification import CellSpec, ColumnSpec, RowSpec, TableSpec
from rml_platform.run.attempt import WorkerContext
from rml_platform.run.execute import execute
from rml_platform.run.reporters import Cancelled
from rml_platform.run.run_folder import RunFolder
from rml_platform.tracking.mlflow_store import MlflowStore
from rml_platform.tracking.mlflow_tracker import MlflowTracker
from rml_platform.tracking.publisher import Publisher
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.scoring.metrics import scores_of
from rml_trainers.scoring.score import Evaluation
from tests.support.platform.fake_trainer import GOOD, NON_FINITE, FakeTrainer
from tests.support.platform.hostile_names import HOSTILE_NAMES
from tests.support.platform.tasks import fake_config, task_for
from tests.support.recorded import Store

NUM_CLASSES = len(HOSTILE_NAMES)


def hostile_evaluation() -> Evaluation:
    """Every class has another IoU; the last one never occurs."""
    confusion = np.diag(np.arange(1, NUM_CLASSES + 1)).astype(np.int64)
    confusion[0] += np.arange(NUM_CLASSES)[::-1]
    confusion[-1, -1] = 0
    return Evaluation(
        protocol="own-32x48/teacher_1/last",
        network="teacher_1",
        scores=scores_of(confusion, HOSTILE_NAMES),
        confusion=confusion,
    )


class HostileTrainer(FakeTrainer):
    """Scores classes of names that MLflow refuses in keys."""

    def fit(self) -> tuple[Evaluation, ...]:
        super().fit()
        return (hostile_evaluation(),)


def train(data: PreparedData, out: Path, run_id: str, trainer: type[FakeTrainer]) -> None:
    fault = NON_FINITE if run_id == "failed" else GOOD
    task = task_for(fake_config(fault), data, out, run_id)
    execute(replace(task, study="alike"), WorkerContext(writer="launch-1"), trainer)


def readers(
    data: PreparedData, out: Path, store: Store, trainer: type[FakeTrainer]
) -> tuple[MlflowReader, RunFolderReader]:
    """Two runs, one of them failed, recorded both ways."""
    for run_id in ("done", "failed"):
        train(data, out, run_id, trainer)
    tracker = MlflowTracker(MlflowStore(store.uri, out / "mlartifacts"))
    notes: list[str] = []
    folders = [RunFolder.of(str(out), run_id) for run_id in ("done", "failed")]
    assert Publisher(tracker, "alike", notes.append).sync(folders, closing=True) == []
    assert notes == []
    return MlflowReader(store.uri, out / "ledger"), RunFolderReader(str(out))


def test_runs_scores_and_histories_are_the_same(
    tiny_data: PreparedData, tmp_path: Path, store: Store
) -> None:
    mlflow, folders = readers(tiny_data, tmp_path, store, FakeTrainer)
    theirs = mlflow.records()
    ours = folders.records()
    differ = ["mlflow_run_id", "start_time", "end_time"]
    assert ours.runs.drop(columns=differ).equals(theirs.runs.drop(columns=differ))
    assert (ours.runs["mlflow_run_id"] == "").all()
    columns = ["run_id", "metric", "value"]
    assert ours.scores[columns].equals(theirs.scores[columns])
    metrics = set(ours.scores["metric"])
    assert {"final/miou", "val/miou", "train/loss", "final/seconds"} < metrics
    of_mlflow = mlflow.histories(["done", "failed"], metrics)
    of_folders = folders.histories(["done", "failed"], metrics)
    assert of_folders.values.equals(of_mlflow.values)
    assert of_folders.keys == of_mlflow.keys
    assert len(of_folders.values) > 20


def test_classes_of_any_name_reach_mlflow_and_keep_their_name(
    tiny_data: PreparedData, tmp_path: Path, store: Store
) -> None:
    expected = hostile_evaluation().iou_by_class
    assert math.isnan(expected.pop(HOSTILE_NAMES[-1]))
    assert len(set(expected.values())) > NUM_CLASSES / 2
    for reader in readers(tiny_data, tmp_path, store, HostileTrainer):
        found = reader.records().iou_by_class()
        found = found[found["run_id"] == "done"]
        assert dict(zip(found["class_name"], found["iou"], strict=True)) == expected
        for name, iou in expected.items():
            spec = TableSpec(
                name="t",
                title="T",
                rows=(RowSpec(label="r"),),
                columns=(ColumnSpec(label="c"),),
                metric=f"final/iou/{name}",
                scale=1,
            )
            cells = [CellSpec(row="r", column="c", seed=0, run_id="done")]
            (entry,) = load_table(spec, cells, reader).cells()
            assert entry.mean == iou


def test_the_dashboards_read_the_json_of_a_score_that_the_platform_writes(
    tiny_data: PreparedData, tmp_path: Path
) -> None:
    train(tiny_data, tmp_path, "done", HostileTrainer)
    content = (tmp_path / "runs" / "done" / "result.json").read_text()
    (score,) = recorded_scores(json.loads(content))
    np.testing.assert_equal(dict(score.scores), dict(hostile_evaluation().scores))


def test_a_cancelled_run_is_known_by_the_name_of_its_error() -> None:
    assert Cancelled.__name__ == CANCELLED


WITHOUT_MLFLOW = """
import sys
from rml_dashboards.figures.publish import write_figures
from rml_dashboards.records.opening import open_records
from rml_dashboards.tables.publish import load_table, write_table
from rml_platform.tracking.opening import open_tracker
from pathlib import Path

out = Path(sys.argv[1])
open_tracker("none", out, out / "mlartifacts").check()
records = open_records("none", storage=str(out), ledger_folder=out / "ledger").records()
print(*records.runs["run_id"], "mlflow" in sys.modules)
"""


def test_without_a_tracker_mlflow_is_never_loaded(tiny_data: PreparedData, tmp_path: Path) -> None:
    train(tiny_data, tmp_path, "done", FakeTrainer)
    command = [sys.executable, "-c", WITHOUT_MLFLOW, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["done", "False"], done.stderr
    assert not list(tmp_path.glob("ledger*"))
