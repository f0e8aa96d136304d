"""The writer to MLflow, against a real store on SQLite and against servers that are not there."""

import shutil
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from filelock import FileLock, Timeout
from mlflow import MlflowClient
from mlflow.entities import ViewType
from mlflow.tracking._tracking_service import utils as mlflow_utils

from rml_platform.run.metric_log import Measurement
from rml_platform.tracking import mlflow_store as tracking
from rml_platform.tracking import reaching
from rml_platform.tracking.mlflow_store import MlflowStore, StoredRun
from rml_platform.tracking.opening import open_tracker, tracking_uri_or_default
from rml_platform.tracking.tracker import TrackingError
from tests.support.recorded import Store


@pytest.fixture
def tracker(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowStore:
    monkeypatch.chdir(tmp_path)
    return MlflowStore(store.uri, tmp_path / "mlartifacts")


def client_of(tracker: MlflowStore) -> MlflowClient:
    return MlflowClient(tracker.uri)


def stored(tracker: MlflowStore, mlflow_run: str) -> StoredRun:
    """What is there of an MLflow run."""
    found = tracker.look(mlflow_run)
    assert found is not None
    return found


def test_a_run_is_found_again_by_its_run_id(tracker: MlflowStore) -> None:
    assert tracker.find("run-1") is None
    made = tracker.create("study", "run-1")
    assert tracker.find("run-1") == made
    assert tracker.find("run-2") is None
    run = client_of(tracker).get_run(made)
    assert run.info.run_name == "run-1"


def test_only_parameters_that_lack_are_written(tracker: MlflowStore) -> None:
    made = tracker.create("study", "run-1")
    tracker.add_parameters(made, {"optimiser.lr": "0.1"}, stored(tracker, made))
    now = {"optimiser.lr": "0.2", "runtime.classes (all)": "3"}
    assert tracker.lacks(stored(tracker, made), now)
    tracker.add_parameters(made, now, stored(tracker, made))
    assert not tracker.lacks(stored(tracker, made), now)
    run = client_of(tracker).get_run(made)
    assert run.data.params == {"optimiser.lr": "0.1", "runtime.classes -.28-all-.29-": "3"}


def test_a_deleted_run_and_experiment_come_back_instead_of_a_second_one(
    tracker: MlflowStore,
) -> None:
    made = tracker.create("study", "run-1")
    client_of(tracker).delete_run(made)
    assert stored(tracker, made).tags == {"rml.run_id": "run-1", "mlflow.runName": "run-1"}
    client_of(tracker).delete_run(made)
    assert tracker.find("run-1") == made
    assert client_of(tracker).get_run(made).info.lifecycle_stage == "active"
    client_of(tracker).delete_experiment(tracker.experiment("study"))
    fresh = MlflowStore(tracker.uri, None)
    assert fresh.experiment("study") == tracker.experiment("study")
    assert (
        len(
            [
                e
                for e in client_of(tracker).search_experiments(view_type=ViewType.ALL)
                if e.name == "study"
            ]
        )
        == 1
    )


def test_of_several_runs_with_one_id_the_first_is_kept_and_the_others_are_closed(
    tracker: MlflowStore,
) -> None:
    first = tracker.create("study", "run-1")
    empty = tracker.create("study", "run-1")
    filled = tracker.create("study", "run-1")
    tracker.log(filled, [Measurement("loss", 1, 1, 0.5)])
    client = client_of(tracker)
    assert tracker.find("run-1") == first
    infos = [client.get_run(run).info for run in (first, empty, filled)]
    assert [(info.status, info.lifecycle_stage) for info in infos] == [
        ("RUNNING", "active"),
        ("KILLED", "deleted"),
        ("KILLED", "active"),
    ]
    late = tracker.create("study", "run-1")
    tracker.close_strays("run-1", first)
    assert client.get_run(late).info.status == "KILLED"
    assert client.get_run(first).info.status == "RUNNING"


class Deaf(BaseHTTPRequestHandler):
    """A server that makes what it is asked for and whose answer to it is lost."""

    made: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        content = b'{"experiment": {"experiment_id": "1", "lifecycle_stage": "active"}}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        self.made.append(self.path)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None: ...


def test_what_makes_something_is_asked_for_once_even_if_the_answer_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    Deaf.made.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Deaf)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        store = MlflowStore(f"http://127.0.0.1:{server.server_port}", None)
        with pytest.raises(TrackingError, match="cannot create run run-1"):
            store.create("study", "run-1")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert [path.rpartition("/")[2] for path in Deaf.made] == ["create"]


def test_an_experiment_that_somebody_else_has_just_made_is_taken(
    tracker: MlflowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tracker.experiment("study")
    late = MlflowStore(tracker.uri, None)
    look = late._client.get_experiment_by_name
    answers = iter([None])
    monkeypatch.setattr(
        late._client, "get_experiment_by_name", lambda name: next(answers, look(name))
    )
    assert late.experiment("study") == made


def test_a_database_is_opened_by_one_process_at_a_time(
    tracker: MlflowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tracker.uri.removeprefix("sqlite:///")
    opened = []

    def open_alone(tracking_uri: str) -> MlflowClient:
        with pytest.raises(Timeout):
            FileLock(f"{file}.lock", is_singleton=False).acquire(blocking=False)
        opened.append(tracking_uri)
        return MlflowClient(tracking_uri)

    monkeypatch.setattr("mlflow.MlflowClient", open_alone)
    MlflowStore(tracker.uri, None)
    assert opened == [tracker.uri]


def test_a_run_that_is_gone_for_good_is_no_error(tracker: MlflowStore) -> None:
    assert tracker.look("0" * 32) is None


def test_artifacts_lie_under_the_given_folder_and_never_in_the_working_folder(
    tracker: MlflowStore, tmp_path: Path
) -> None:
    made = tracker.create("study", "run-1")
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"png")
    tracker.upload(made, folder, "predictions")
    tracker.upload(made, folder / "a.png", None)
    found = sorted(
        p.relative_to(tmp_path / "mlartifacts").parts[2:]
        for p in (tmp_path / "mlartifacts").rglob("*.png")
    )
    assert found == [("artifacts", "a.png"), ("artifacts", "predictions", "a.png")]
    assert not (tmp_path / "mlruns").exists()


@pytest.mark.parametrize("name", ["out", "a b#c?d%20é"])
@pytest.mark.parametrize("copied", [False, True])
def test_artifacts_are_found_and_stored_where_an_output_folder_was_moved_to(
    name: str,
    copied: bool,
    empty_store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = tmp_path / name
    first.mkdir()
    shutil.copyfile(empty_store, first / "mlflow.db")
    store = MlflowStore(tracking_uri_or_default(None, first), first / "mlartifacts")
    store.check()
    made = store.create("study", "run-1")
    picture = tmp_path / "city 0 ü" / "a.png"
    picture.parent.mkdir()
    picture.write_bytes(b"png")
    store.upload(made, picture, "predictions/city 0 ü")
    second = tmp_path / f"{name} 2"
    (shutil.copytree if copied else shutil.move)(first, second)
    monkeypatch.setattr(mlflow_utils, "_artifact_repos_cache", {})  # as in a new process
    moved = MlflowStore(tracking_uri_or_default(None, second), second / "mlartifacts")
    moved.check()
    moved.upload(made, picture, "later")
    moved.upload(moved.create("study", "run-2"), picture, None)
    client = client_of(moved)
    downloaded = client.download_artifacts(made, "predictions/city 0 ü/a.png", str(tmp_path))
    assert Path(downloaded).read_bytes() == b"png"
    places = sorted(p.relative_to(second).parts[3:] for p in second.rglob("*.png"))
    assert places == [
        ("artifacts", "a.png"),
        ("artifacts", "later", "a.png"),
        ("artifacts", "predictions", "city 0 ü", "a.png"),
    ]
    assert len(list(first.rglob("*.png"))) == int(copied), "nothing new in the old place"


def test_artifacts_of_a_store_that_others_share_stay_where_they_are(
    tracker: MlflowStore, tmp_path: Path
) -> None:
    made = tracker.create("study", "run-1")
    other = MlflowStore(tracker.uri, tmp_path / "elsewhere" / "mlartifacts")
    other.check()
    assert (
        client_of(tracker)
        .get_run(made)
        .info.artifact_uri.startswith((tmp_path / "mlartifacts").as_uri())
    )


def test_more_parameters_metrics_and_text_than_one_call_may_carry(tracker: MlflowStore) -> None:
    made = tracker.create("study", "run-1")
    tracker.add_parameters(made, {f"p{i}": "x" * 9000 for i in range(230)}, StoredRun())
    tracker.log(made, [Measurement("loss", step, 1, 0.5) for step in range(2100)])
    tracker.set_tags(made, {"rml.failure": "y" * 9000})
    run = client_of(tracker).get_run(made)
    assert len(run.data.params) == 230
    assert {len(value) for value in run.data.params.values()} == {6000}
    assert len(client_of(tracker).get_metric_history(made, "loss")) == 2100
    there = stored(tracker, made)
    assert (there.last_step("loss"), there.last_step("other")) == (2099, -1)


def test_a_run_that_ended_can_run_again(tracker: MlflowStore) -> None:
    made = tracker.create("study", "run-1")
    for status in ("KILLED", "RUNNING", "FINISHED"):
        tracker.set_status(made, status)
        assert client_of(tracker).get_run(made).info.status == status


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_a_server_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    uri = f"http://127.0.0.1:{closed_port()}"
    with pytest.raises(TrackingError) as told:
        open_tracker(uri, tmp_path, tmp_path)
    assert str(told.value).startswith(
        f"MLflow at {uri} cannot be reached ([Errno 111] Connection refused): start it, or correct"
    )


def test_a_database_that_is_not_there_is_asked_once_and_told_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip(
        "psycopg2", reason="needs a driver of PostgreSQL: pip install psycopg2-binary"
    )
    from mlflow.store.db import utils as databases

    monkeypatch.delattr(databases, "create_sqlalchemy_engine_with_retry")  # takes two minutes
    port = closed_port()
    with pytest.raises(TrackingError) as told:
        MlflowStore(f"postgresql://me:s3cret@127.0.0.1:{port}/runs", None)
    said = str(told.value)
    assert said.startswith(f"MLflow at postgresql://me:***@127.0.0.1:{port}/runs cannot be reached")
    assert "Connection refused): start it, or correct --tracking-uri;" in said
    assert "\n" not in said
    assert "s3cret" not in said


@pytest.mark.parametrize(
    "ask", [reaching.check_reachable, lambda uri: MlflowStore(uri, None).check()]
)
def test_a_server_that_never_answers_is_given_up(
    ask: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reaching, "ANSWERS_WITHIN_S", 0.1)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")  # half a minute else, and once more
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(TrackingError, match="timed out"):
            ask(f"http://127.0.0.1:{silent.getsockname()[1]}")


@pytest.mark.parametrize("uri", ["nonsense://x", "sqlite:////proc/no/such/place/mlflow.db"])
def test_a_store_that_cannot_be_opened_is_one_clear_error(uri: str) -> None:
    with pytest.raises(TrackingError, match="cannot"):
        MlflowStore(uri, None).check()


def test_our_own_mistakes_are_not_taken_for_the_servers() -> None:
    with pytest.raises(KeyError), tracking._one_error("cannot"):
        raise KeyError("a bug")


def test_passwords_are_neither_told_nor_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    # MLflow waits ever longer for a database, a minute and a half in all.
    monkeypatch.setattr("mlflow.store.db.utils.MAX_RETRY_COUNT", 1)
    uri = "postgresql://me:secret@nowhere.invalid:5432/mlflow"
    with pytest.raises(TrackingError) as caught:
        MlflowStore(uri, None).check()
    assert "postgresql://me:***@nowhere.invalid:5432/mlflow" in str(caught.value)
    assert "secret" not in str(caught.value)
