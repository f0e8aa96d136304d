"""Reading MLflow: what becomes of runs, tags and scores, and which of several MLflow runs
counts."""

import math
from pathlib import Path

import pandas as pd
import pytest

from rml_dashboards.errors import DashboardError
from rml_dashboards.records.records import RUN_COLUMNS, to_records
from tests.support.recorded import NOON, Store, read_records, recorded


def test_one_row_per_run_with_tags_and_overall_scores(store: Store, tmp_path: Path) -> None:
    mlflow_id = store.add(
        "a-1", 0.25, seed="7", dirty="True", method="iml", scores={"final/iou/road": 0.5}
    )
    store.add_foreign()
    records = read_records(store.uri, tmp_path / "ledger")
    assert list(records.runs.columns[: len(RUN_COLUMNS)]) == list(RUN_COLUMNS)
    (row,) = records.runs.to_dict("records")
    assert (row["run_id"], row["mlflow_run_id"], row["experiment"], row["status"]) == (
        "a-1",
        mlflow_id,
        "study",
        "FINISHED",
    )
    assert (row["seed"], row["dirty"], row["method"], row["attempt"], row["host"]) == (
        7,
        True,
        "iml",
        1,
        "",
    )
    assert (row["final/miou"], row["final/accuracy"]) == (0.25, 0.9)
    assert row["start_time"] == pd.Timestamp(NOON, unit="ms", tz="UTC")
    assert row["end_time"] - row["start_time"] == pd.Timedelta(minutes=1)
    assert records.warnings == ()


def test_scores_are_tidy_and_what_is_not_ours_stays_out(store: Store, tmp_path: Path) -> None:
    store.add("a-1", 0.25, scores={"val/student_2/miou": 0.125, "system/cpu": 3.0})
    records = read_records(store.uri, tmp_path / "ledger")
    assert dict(zip(records.scores["metric"], records.scores["value"], strict=True)) == {
        "final/accuracy": 0.9,
        "final/miou": 0.25,
        "train/loss": 1.0,
        "val/student_2/miou": 0.125,
    }


def test_iou_by_class_keeps_a_class_that_never_occurs(store: Store, tmp_path: Path) -> None:
    store.add("a-1", 0.25, scores={"final/iou/road": 0.5, "final/iou/night sky": math.nan})
    per_class = (
        read_records(store.uri, tmp_path / "ledger").iou_by_class().set_index("class_name")["iou"]
    )
    assert per_class["road"] == 0.5
    assert math.isnan(per_class["night sky"])


def test_runs_of_all_studies_are_read(store: Store, tmp_path: Path) -> None:
    store.add("a-1", 0.25, study="first")
    store.add("b-1", 0.5, study="second")
    runs = read_records(store.uri, tmp_path / "ledger").runs
    assert dict(zip(runs["run_id"], runs["experiment"], strict=True)) == {
        "a-1": "first",
        "b-1": "second",
    }


def test_all_pages_are_read(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rml_dashboards.records.mlflow_reader.PAGE_SIZE", 2)
    for i in range(5):
        store.add(f"a-{i}", 0.1 * i)
    assert sorted(read_records(store.uri, tmp_path / "ledger").runs["run_id"]) == [
        f"a-{i}" for i in range(5)
    ]


@pytest.mark.parametrize(
    "statuses", [("FINISHED", "FAILED"), ("FINISHED", "RUNNING"), ("FINISHED", "KILLED")]
)
def test_a_finished_run_wins_over_a_newer_unfinished_one(statuses: tuple[str, str]) -> None:
    runs = [
        recorded("a-1", 0.1 + i, status=status, mlflow_run_id=f"m{i}", start_ms=NOON + i)
        for i, status in enumerate(statuses)
    ]
    records = to_records(runs)
    assert list(records.runs["mlflow_run_id"]) == ["m0"]
    assert set(records.scores["mlflow_run_id"]) == {"m0"}
    assert records.warnings == (
        f"run a-1 has 2 MLflow runs; m0 (FINISHED) is used, not m1 ({statuses[1]})",
    )


def test_of_equal_standing_the_newest_wins() -> None:
    finished = [recorded("a-1", 0.5, mlflow_run_id=f"m{i}", start_ms=NOON + i) for i in (1, 2, 0)]
    cut_off = [
        recorded("b-1", status="RUNNING", mlflow_run_id=f"n{i}", start_ms=NOON + i) for i in (0, 1)
    ]
    assert list(to_records([*finished, *cut_off]).runs["mlflow_run_id"]) == ["m2", "n1"]


def test_a_store_without_runs_gives_empty_tables(store: Store, tmp_path: Path) -> None:
    records = read_records(store.uri, tmp_path / "ledger")
    assert len(records.runs) == len(records.scores) == len(records.iou_by_class()) == 0


def test_a_missing_store_is_an_error_and_is_not_created(tmp_path: Path) -> None:
    with pytest.raises(
        DashboardError, match=r"there is no SQLite file typo\.db.*Launch the study first"
    ):
        read_records(f"sqlite:///{tmp_path / 'typo.db'}", tmp_path / "ledger")
    assert not (tmp_path / "typo.db").exists()


def test_a_file_that_is_no_store_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text(
        "not a database, but long enough to look like a page of one " * 20
    )
    with pytest.raises(DashboardError, match=r"the MLflow store .* cannot be read"):
        read_records(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "ledger")


def test_an_unreachable_server_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(DashboardError, match=r"the MLflow store .* cannot be read"):
        read_records("http://127.0.0.1:9", tmp_path / "ledger")


def test_a_database_that_is_not_there_is_asked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(
        "psycopg2", reason="needs a driver of PostgreSQL: pip install psycopg2-binary"
    )
    from mlflow.store.db import utils as databases

    monkeypatch.delattr(databases, "create_sqlalchemy_engine_with_retry")  # takes two minutes
    with pytest.raises(DashboardError, match=r"store postgresql://me:\*\*\*@.* cannot be read"):
        read_records("postgresql://me:s3cret@127.0.0.1:9/runs", tmp_path / "ledger")
