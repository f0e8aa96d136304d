"""Runs read from their folders: states, what counts, what is damaged, and results of old."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from rml_dashboards.contract.states import STALE_AFTER_S
from rml_dashboards.errors import DashboardError
from rml_dashboards.records.opening import open_records
from rml_dashboards.records.run_folder_reader import RunFolderReader

CONFIG = {
    "seed": 3,
    "method": {"name": "iml"},
    "data": {"name": "scenes"},
    "split": {"family": "french", "num_labelled": None, "fraction": 0.125, "seed": 1},
}
TASK = {
    "run_id": "a",
    "config_json": json.dumps(CONFIG),
    "study": "mine",
    "split_hash": "s",
    "data_hash": "d",
    "code_version": "abc",
    "dirty": True,
}
SCORES = {"miou": 0.5, "accuracy": 0.75, "iou/sky": None}
RESULT = {
    "evaluations": [
        {
            "protocol": "p/teacher_1/last",
            "network": "teacher_1",
            "subset": "val",
            "scores": SCORES,
            "confusion": [[1]],
        }
    ],
    "steps": 30,
    "seconds": 9.0,
    "time": 1_793_880_000.0,
}
EARLIER = {
    **{key: value for key, value in RESULT["evaluations"][0].items() if key != "scores"},  # type: ignore[index]
    "miou": 0.5,
    "accuracy": 0.75,
    "iou_by_class": {"sky": None},
}
PIECES = {10: 0.4, 20: 0.3, 30: 0.2}


def heartbeat(**changes: Any) -> dict[str, Any]:
    fields = {"state": "running", "time": time.time(), "seconds": 5.0, "checkpoint_step": 20}
    return {**fields, "device": "cpu", "attempt": 2, "worker": {"host": "h", "pid": 1}, **changes}


def write_run(storage: Path, run_id: str = "a", /, **files: Any) -> Path:
    """A run's folder with the given files beside task, heartbeat and three pieces of metrics."""
    folder = storage / "runs" / run_id
    (folder / "metrics").mkdir(parents=True)
    contents = {"task": TASK, "heartbeat": heartbeat(), **files}
    for name, content in contents.items():
        if content is not None:
            (folder / f"{name}.json").write_text(json.dumps(content))
    for step, loss in PIECES.items():
        rows = [["train/loss", step, 1000 * step, loss], ["val/miou", step, 1000 * step, 1 - loss]]
        (folder / "metrics" / f"{step:09d}.json").write_text(json.dumps(rows))
    (folder / "metrics" / "end.json").write_text(json.dumps([["train/loss", 31, 31_000, 0.1]]))
    return folder


def scores_of(reader: RunFolderReader, run_id: str = "a") -> dict[str, float]:
    scores = reader.records().scores
    own = scores[scores["run_id"] == run_id]
    return dict(zip(own["metric"], own["value"], strict=True))


@pytest.fixture
def reader(tmp_path: Path) -> RunFolderReader:
    return RunFolderReader(str(tmp_path))


FAILURE = {"kind": "ValueError", "message": "no", "time": 1.0}


@pytest.mark.parametrize(
    ("files", "status"),
    [
        ({"result": RESULT}, "FINISHED"),
        ({"result": RESULT, "failure": FAILURE}, "FINISHED"),
        ({"failure": FAILURE}, "FAILED"),
        ({"failure": {**FAILURE, "kind": "Cancelled"}}, "KILLED"),
        ({}, "RUNNING"),
        ({"heartbeat": heartbeat(state="stopped")}, "KILLED"),
        ({"heartbeat": heartbeat(time=time.time() - STALE_AFTER_S - 5)}, "KILLED"),
        ({"heartbeat": None, "result": RESULT}, "FINISHED"),
        ({"heartbeat": None}, None),
        ({"task": None, "result": RESULT}, None),
    ],
)
def test_how_a_run_stands(
    files: dict[str, Any], status: str | None, tmp_path: Path, reader: RunFolderReader
) -> None:
    write_run(tmp_path, **files)
    assert list(reader.records().runs["status"]) == ([] if status is None else [status])


def test_what_a_run_is_found_by(tmp_path: Path, reader: RunFolderReader) -> None:
    folder = write_run(tmp_path, result=RESULT)
    (folder / "studies").mkdir()
    (folder / "studies" / "another").touch()
    (run,) = reader.records().runs.to_dict("records")
    expected = {
        "run_id": "a",
        "mlflow_run_id": "",
        "study": "mine",
        "studies": "another,mine",
        "method": "iml",
        "data": "scenes",
        "split": "french/0.125/1",
        "seed": 3,
        "protocol": "p/teacher_1/last",
        "dirty": True,
        "host": "h",
        "device": "cpu",
        "attempt": 2,
        "result_version": "1",
    }
    assert {key: run[key] for key in expected} == expected
    assert run["end_time"].strftime("%Y-%m-%d") == "2026-11-05"


def test_what_no_stored_checkpoint_covers_does_not_count(
    tmp_path: Path, reader: RunFolderReader
) -> None:
    write_run(tmp_path)
    assert scores_of(reader) == {"train/loss": 0.3, "val/miou": 0.7}
    values = reader.histories(["a"], {"train/loss"}).values
    assert values["step"].tolist() == [10, 20]
    write_run(tmp_path, "b", result=RESULT)
    values = reader.histories(["b"], {"train/loss", "final/miou"}).values
    assert values["step"].tolist() == [0, 10, 20, 30, 31]
    assert scores_of(reader, "b")["train/loss"] == 0.1


@pytest.mark.parametrize("form", [RESULT, {**RESULT, "evaluations": [EARLIER]}])
def test_results_of_both_forms_are_read(
    form: dict[str, Any], tmp_path: Path, reader: RunFolderReader
) -> None:
    write_run(tmp_path, result=form)
    final = {key: value for key, value in scores_of(reader).items() if key.startswith("final/")}
    assert final == {"final/miou": 0.5, "final/accuracy": 0.75, "final/seconds": 9.0}


def test_only_wanted_runs_are_read(tmp_path: Path, reader: RunFolderReader) -> None:
    for run_id in "abc":
        write_run(tmp_path, run_id, result=RESULT)
    (tmp_path / "runs" / "b" / "metrics" / "000000010.json").write_text("damaged")
    records = reader.records(["b", "b", "absent"], {"final/miou"})
    assert list(records.runs["run_id"]) == ["b"]
    assert records.warnings == (), "a final score needs no metric log"
    assert sorted(reader.records().runs["run_id"]) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("name", "content", "status"),
    [
        ("result.json", '{"evaluations": [', "RUNNING"),
        ("result.json", "{}", "RUNNING"),
        ("result.json", "[]", "RUNNING"),
        ("result.json", json.dumps({**RESULT, "evaluations": []}), "RUNNING"),
        (
            "result.json",
            json.dumps({**RESULT, "evaluations": [{**EARLIER, "iou_by_class": []}]}),
            "RUNNING",
        ),
        ("heartbeat.json", '{"state": "run', "FINISHED"),
        ("failure.json", "7", "FINISHED"),
        ("metrics/000000010.json", '[["train/loss", 10', "FINISHED"),
        ("metrics/000000010.json", '[["train/loss", 10]]', "FINISHED"),
        ("task.json", "null", None),
    ],
)
def test_a_damaged_file_is_named_and_touches_its_own_run_only(
    name: str, content: str, status: str | None, tmp_path: Path, reader: RunFolderReader
) -> None:
    damaged = write_run(tmp_path, result=RESULT, failure=FAILURE)
    if name == "result.json":
        (damaged / "failure.json").unlink()
    if name == "failure.json":
        (damaged / "result.json").unlink()
        status = "RUNNING"
    (damaged / name).write_text(content)
    write_run(tmp_path, "sound", result=RESULT)
    records = reader.records()
    by_id = dict(zip(records.runs["run_id"], records.runs["status"], strict=True))
    assert by_id == {"sound": "FINISHED"} | ({} if status is None else {"a": status})
    (warning,) = records.warnings
    assert warning.startswith(f"run a: {name} is damaged and counts as absent")


def test_no_runs_at_all_and_no_such_storage(tmp_path: Path) -> None:
    assert RunFolderReader(str(tmp_path / "absent")).records().runs.empty
    with pytest.raises(DashboardError, match=r"the storage nonsense://x cannot be opened"):
        open_records("none", storage="nonsense://x", ledger_folder=tmp_path)
