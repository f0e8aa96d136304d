"""Where the files of an experiment go, and what is said where they cannot go there."""

import os
from pathlib import Path

import pytest
from mlflow import MlflowClient, MlflowException

from rml_platform.tracking import moved_artifacts
from rml_platform.tracking.mlflow_store import MlflowStore
from rml_platform.tracking.moved_artifacts import why_out_of_reach
from rml_platform.tracking.opening import open_mlflow
from rml_platform.tracking.tracker import TrackingError
from tests.support.recorded import Store

SERVER = "http://mlflow:5000"
DATABASE = "postgresql://me@db/mlflow"
AWAY = "file:///no/such/disk/mlartifacts/study"
GONE = "this machine has no /no/such/disk/mlartifacts"


@pytest.mark.parametrize(
    ("location", "uri", "said"),
    [
        ("mlflow-artifacts:/1", SERVER, ""),
        ("mlflow-artifacts:/1", "HTTPS://mlflow", ""),
        ("mlflow-artifacts:/1", DATABASE, "an MLflow server keeps them"),
        ("mlflow-artifacts:/1", "sqlite:////x/mlflow.db", "an MLflow server keeps them"),
        ("s3://bucket/1", SERVER, ""),
        (AWAY, SERVER, GONE),
        (AWAY, DATABASE, GONE),
        (AWAY.removeprefix("file://"), SERVER, GONE),
        (AWAY, "sqlite:////x/mlflow.db", ""),
        ("", SERVER, ""),
    ],
)
def test_a_place_on_another_machine_is_told(location: str, uri: str, said: str) -> None:
    why = why_out_of_reach(location, uri, Path("/elsewhere"))
    assert bool(why) == bool(said)
    assert said in why


def test_a_place_of_ones_own_need_not_be_there_yet(tmp_path: Path) -> None:
    own = tmp_path / "mlartifacts"
    assert why_out_of_reach((own / "study").as_uri(), SERVER, own) == ""
    assert why_out_of_reach((own / "study").as_uri(), SERVER, tmp_path / "other")


class Client:
    """A server's client that keeps what it is asked to make."""

    def __init__(self) -> None:
        self.places: list[str | None] = []

    def get_experiment_by_name(self, name: str) -> None: ...

    def create_experiment(
        self, name: str, artifact_location: str | None, tags: dict[str, str]
    ) -> str:
        self.places.append(artifact_location)
        raise MlflowException("that is all", error_code=1)


@pytest.mark.parametrize("uri", [SERVER, "https://mlflow.example.org"])
def test_a_server_decides_itself_where_files_lie(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rml_platform.tracking.opening.check_reachable", lambda uri: None)
    store = open_mlflow(uri, tmp_path, tmp_path / "mlartifacts")._store
    store._client = Client()
    with pytest.raises(TrackingError, match="that is all"):
        store.experiment("study")
    assert store._client.places == [None]


def test_nothing_is_made_where_the_files_cannot_be_stored(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moved_artifacts, "is_server", lambda uri: True)
    client = MlflowClient(store.uri)
    old = client.create_experiment("study", artifact_location=AWAY)
    run = client.create_run(old).info.run_id
    mine = MlflowStore(store.uri, tmp_path / "mlartifacts")
    with pytest.raises(TrackingError, match=f"experiment 'study' cannot be stored: .*{GONE}"):
        mine.create("study", "run-1")
    assert len(client.search_runs([old])) == 1
    (file := tmp_path / "a.txt").write_text("a")
    with pytest.raises(TrackingError, match=f"MLflow run {run} cannot be stored: .*{GONE}"):
        mine.upload(run, file, None)
    client.rename_experiment(old, "study of before")
    mine.upload(mine.create("study", "run-1"), file, None)
    assert list((tmp_path / "mlartifacts" / "study").glob("*/artifacts/a.txt"))


def test_a_server_that_serves_no_files_is_one_sentence(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moved_artifacts, "is_server", lambda uri: True)
    mine = MlflowStore(store.uri, tmp_path / "mlartifacts")
    mine._client.create_experiment("study", artifact_location="mlflow-artifacts:/1")
    run = mine.create("study", "run-1")

    def refused(*what: object) -> None:
        raise MlflowException("Max retries exceeded (too many 503 error responses)")

    monkeypatch.setattr(mine._client, "log_artifact", refused)
    with pytest.raises(TrackingError, match=r"answered 503; .* started with --serve-artifacts"):
        mine.upload(run, tmp_path / "a.txt", None)


@pytest.mark.parametrize(("own", "waited"), [(None, "300"), ("7", "7")])
def test_a_file_may_take_longer_than_an_answer(
    own: str | None,
    waited: str,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = "MLFLOW_HTTP_REQUEST_TIMEOUT"
    monkeypatch.setenv(name, own or "")
    if own is None:
        monkeypatch.delenv(name)
    mine = MlflowStore(store.uri, tmp_path / "mlartifacts")
    seen = list[str]()
    monkeypatch.setattr(mine._client, "log_artifact", lambda *_: seen.append(os.environ[name]))
    mine.upload(mine.create("study", "run-1"), tmp_path / "a.txt", None)
    assert seen == [waited]
    assert os.environ[name] == (own or "30")
