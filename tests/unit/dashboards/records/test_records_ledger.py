"""The ledger: only what changed is read again, and a store that changed or vanished is noticed."""

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException

from rml_dashboards.errors import DashboardError
from rml_dashboards.records import mlflow_reader
from rml_dashboards.records.ledger import Ledger, ledger_path, load_ledger, save_ledger
from rml_dashboards.records.mlflow_reader import CLOCK_SKEW_MS, update
from rml_dashboards.records.records import Records, records_of
from rml_dashboards.records.run_table import to_run_table
from tests.support.recorded import NOON, Store, read_records, recorded

LATER = NOON + 10 * CLOCK_SKEW_MS


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Run ids (tag) of every run that MLflow hands out, in order; clear it between reads."""
    seen: list[str] = []
    search: Callable[..., Any] = MlflowClient.search_runs

    def listen(*args: Any, **kwargs: Any) -> Any:
        page = search(*args, **kwargs)
        seen.extend(run.data.tags["rml.run_id"] for run in page)
        return page

    monkeypatch.setattr(MlflowClient, "search_runs", listen)
    return seen


def status_by_id(records: Records) -> dict[str, str]:
    return dict(zip(records.runs["run_id"], records.runs["status"], strict=True))


def test_finished_runs_are_not_read_twice(store: Store, tmp_path: Path, fetched: list[str]) -> None:
    store.add("old", 0.1)
    store.add("new", 0.2, start_ms=LATER)
    first = read_records(store.uri, tmp_path)
    assert sorted(fetched) == ["new", "old"]
    fetched.clear()
    second = read_records(store.uri, tmp_path)
    assert fetched == []
    assert second.runs.equals(first.runs)
    assert second.scores.equals(first.scores)


@pytest.mark.parametrize("most_alike", [600, 2, 0], ids=["by time", "both", "by token"])
def test_every_page_begins_where_the_last_one_ended(
    most_alike: int,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fetched: list[str],
) -> None:
    """Nine runs, five of which began in the same millisecond, in pages of two."""
    monkeypatch.setattr(mlflow_reader, "PAGE_SIZE", 2)
    monkeypatch.setattr(mlflow_reader, "MOST_LEFT_OUT", most_alike)
    starts = [0, 1, *[2] * 5, 3, 4]
    for number, start in enumerate(starts):
        store.add(f"r{number}", 0.1, start_ms=NOON + start)
    found = read_records(store.uri, tmp_path)
    assert sorted(found.runs["run_id"]) == [f"r{number}" for number in range(len(starts))]
    assert sorted(fetched) == sorted(found.runs["run_id"]), "each once"


@pytest.mark.parametrize("was_on", [True, False])
def test_reading_does_not_look_for_cycles_and_leaves_everything_as_it_was(
    was_on: bool, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add("a", 0.1)
    seen: list[bool] = []
    search: Callable[..., Any] = MlflowClient.search_runs

    def fail(*args: Any, **kwargs: Any) -> Any:
        seen.append(gc.isenabled())
        if len(seen) == 3:
            raise MlflowException("gone")
        return search(*args, **kwargs)

    monkeypatch.setattr(MlflowClient, "search_runs", fail)
    before = gc.isenabled()
    try:
        gc.enable() if was_on else gc.disable()
        with pytest.raises(DashboardError, match="gone"):
            read_records(store.uri, tmp_path)
        assert gc.isenabled() is was_on
    finally:
        gc.enable() if before else gc.disable()
    assert seen == [False] * 3


def test_a_run_that_ended_by_a_slow_clock_is_found(
    store: Store, tmp_path: Path, fetched: list[str]
) -> None:
    """It ended after the last read, and before the latest end that was read."""
    store.add("known", 0.1, start_ms=LATER)
    read_records(store.uri, tmp_path)
    store.add("behind", 0.2, start_ms=LATER - CLOCK_SKEW_MS // 2)
    fetched.clear()
    assert sorted(status_by_id(read_records(store.uri, tmp_path))) == ["behind", "known"]
    assert fetched == ["behind"]


def test_more_recent_runs_than_one_statement_excludes_are_read_again(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fetched: list[str]
) -> None:
    monkeypatch.setattr("rml_dashboards.records.mlflow_reader.MOST_LEFT_OUT", 1)
    for run_id in ("a", "b"):
        store.add(run_id, 0.1)
    read_records(store.uri, tmp_path)
    fetched.clear()
    store.add("c", 0.2)
    assert sorted(status_by_id(read_records(store.uri, tmp_path))) == ["a", "b", "c"]
    assert sorted(fetched) == ["a", "b", "c"]


def test_a_run_that_ended_since_is_added(store: Store, tmp_path: Path) -> None:
    store.add("a", 0.1)
    read_records(store.uri, tmp_path)
    store.add("b", 0.2, start_ms=LATER)
    assert status_by_id(read_records(store.uri, tmp_path)) == {"a": "FINISHED", "b": "FINISHED"}


@pytest.mark.parametrize("status", ["RUNNING", "FAILED", "KILLED"])
def test_an_unfinished_run_is_read_again_even_if_its_clock_is_behind(
    store: Store, tmp_path: Path, status: str
) -> None:
    mlflow_id = store.add("slow", status=status)
    store.add("a", 0.1, start_ms=LATER)
    assert status_by_id(read_records(store.uri, tmp_path))["slow"] == status
    store.finish(mlflow_id, 0.5, end_ms=NOON + 1)
    records = read_records(store.uri, tmp_path)
    assert status_by_id(records)["slow"] == "FINISHED"
    assert records.runs.set_index("run_id").loc["slow", "final/miou"] == 0.5


def test_many_unfinished_runs_are_asked_for_in_chunks(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rml_dashboards.records.mlflow_reader.IDS_PER_FILTER", 2)
    ids = [store.add(f"a-{i}", status="RUNNING") for i in range(5)]
    store.add("z", 0.1, start_ms=LATER)
    read_records(store.uri, tmp_path)
    for mlflow_id in ids:
        store.finish(mlflow_id, 0.5, end_ms=NOON + 1)
    assert set(status_by_id(read_records(store.uri, tmp_path)).values()) == {"FINISHED"}


def test_a_deleted_run_disappears_and_a_restored_one_comes_back(
    store: Store, tmp_path: Path
) -> None:
    mlflow_id = store.add("a", 0.1)
    store.add("b", 0.2, start_ms=LATER)
    read_records(store.uri, tmp_path)
    store.client.delete_run(mlflow_id)
    assert list(status_by_id(read_records(store.uri, tmp_path))) == ["b"]
    store.client.restore_run(mlflow_id)
    assert sorted(status_by_id(read_records(store.uri, tmp_path))) == ["a", "b"]


def test_runs_of_a_deleted_experiment_disappear(store: Store, tmp_path: Path) -> None:
    store.add("a", 0.1, study="first")
    store.add("b", 0.2, study="second", start_ms=LATER)
    read_records(store.uri, tmp_path)
    store.client.delete_experiment(store.experiment("first"))
    assert list(status_by_id(read_records(store.uri, tmp_path))) == ["b"]


def test_another_store_at_the_same_address_is_noticed(
    store: Store, empty_store: Path, tmp_path: Path
) -> None:
    store.add("a", 0.1, study="first")
    ledger, _ = update(Ledger(), store.client)
    other = Store.copy(empty_store, tmp_path / "other.db")
    other.add("b", 0.2, study="second")
    ledger, warnings = update(ledger, other.client)
    assert list(records_of(ledger.table).runs["run_id"]) == ["b"]
    assert warnings == [
        "the MLflow store is not the one that was read before; everything was read again"
    ]


def test_a_vanished_store_leaves_what_was_read(store: Store, tmp_path: Path) -> None:
    store.add("a", 0.1)
    before = read_records(store.uri, tmp_path / "ledger")
    store.file.rename(tmp_path / "moved.db")
    after = read_records(store.uri, tmp_path / "ledger")
    assert after.runs.equals(before.runs)
    assert after.warnings == (
        f"the MLflow store {store.uri} cannot be read: there is no SQLite file {store.file.name}; "
        "shown is what was read before",
    )


def test_fresh_reads_everything(store: Store, tmp_path: Path, fetched: list[str]) -> None:
    store.add("old", 0.1)
    store.add("new", 0.2, start_ms=LATER)
    read_records(store.uri, tmp_path)
    fetched.clear()
    read_records(store.uri, tmp_path, fresh=True)
    assert sorted(fetched) == ["new", "old"]


@pytest.mark.parametrize("damage", ["cut in half", "other bytes", "empty"])
def test_a_damaged_ledger_is_read_again(store: Store, tmp_path: Path, damage: str) -> None:
    store.add("a", 0.1)
    before = read_records(store.uri, tmp_path)
    file = ledger_path(tmp_path, store.uri)
    data = file.read_bytes()
    file.write_bytes(
        {"cut in half": data[: len(data) // 2], "other bytes": b"x" * len(data), "empty": b""}[
            damage
        ]
    )
    after = read_records(store.uri, tmp_path)
    assert after.runs.equals(before.runs)
    assert "is damaged" in after.warnings[0]
    assert read_records(store.uri, tmp_path).warnings == ()


def test_a_ledger_of_another_version_is_read_again(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add("a", 0.1)
    read_records(store.uri, tmp_path)
    monkeypatch.setattr("rml_dashboards.records.ledger.VERSION", 99)
    assert "has another format" in read_records(store.uri, tmp_path).warnings[0]


def test_ledger_round_trip(tmp_path: Path) -> None:
    runs = [
        recorded("a", 0.1, scores={"final/iou/night sky": 0.5}),
        recorded("b", status="RUNNING"),
    ]
    ledger = Ledger(table=to_run_table(runs), experiments={"1": 5})
    save_ledger(ledger, tmp_path / "ledger.parquet")
    loaded, problem = load_ledger(tmp_path / "ledger.parquet")
    assert loaded.equals(ledger)
    assert problem is None
    assert not loaded.equals(Ledger(table=to_run_table(runs[:1]), experiments={"1": 5}))
    assert [file.name for file in tmp_path.iterdir()] == ["ledger.parquet"]


def test_a_failed_write_keeps_the_old_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ledger.parquet"
    save_ledger(Ledger(experiments={"1": 5}), file)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rml_dashboards.records.ledger.pq.write_table", full)
    with pytest.raises(OSError, match="No space left"):
        save_ledger(Ledger(experiments={"2": 6}), file)
    assert load_ledger(file)[0].experiments == {"1": 5}
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.parquet"]


def test_the_name_of_a_ledger_does_not_tell_the_address(tmp_path: Path) -> None:
    name = ledger_path(tmp_path, "postgresql://me:secret@db/rml").name
    assert "secret" not in name
    assert name != ledger_path(tmp_path, "sqlite:///mlflow.db").name


def test_a_run_that_changes_while_pages_are_read_counts_as_it_was_last(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is added moves runs to later pages: one can be seen twice."""
    first = recorded("a", 0.5, status="RUNNING")
    pages = [[first, recorded("b", 0.6)], [recorded("a", 0.7), recorded("c", 0.8)]]
    tables = [to_run_table(page) for page in pages]

    def search(*asked: Any) -> Any:
        return iter(tables if asked[-1] == ViewType.ACTIVE_ONLY else ())

    monkeypatch.setattr(mlflow_reader, "_search", search)
    ledger, _ = update(Ledger(), store.client)
    assert ledger.table.column("mlflow_run_id").to_pylist() == ["mlflow-b", "mlflow-a", "mlflow-c"]
    assert ledger.table.column("status").to_pylist() == 3 * ["FINISHED"]
