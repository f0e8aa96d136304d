"""The writer to MLflow, against a real store on SQLite and against servers that are not there."""

import shutil
import socket
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import ViewType
from mlflow.tracking._tracking_service import utils as mlflow_utils

from rml_platform.run.metric_log import Measurement
from rml_platform.tracking import mlflow_store as tracking
from rml_platform.tracking.mlflow_store import MlflowStore
from rml_platform.tracking.opening import tracking_uri_or_default
from rml_platform.tracking.tracker import TrackingError
from tests.support.recorded import Store


@pytest.fixture
def tracker(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowStore:
    monkeypatch.chdir(tmp_path)
    return MlflowStore(store.uri, tmp_path / "mlartifacts")


def client_of(tracker: MlflowStore) -> MlflowClient:
    return MlflowClient(tracker.uri)


def test_a_run_is_found_again_by_its_run_id(tracker: MlflowStore) -> None:
    assert tracker.find("run-1") is None
    made = tracker.create("study", "run-1", {"optimiser.lr": "0.1"})
    assert tracker.find("run-1") == made
    assert tracker.find("run-2") is None
    run = client_of(tracker).get_run(made)
    assert (run.info.run_name, run.data.params) == ("run-1", {"optimiser.lr": "0.1"})


def test_a_deleted_run_and_experiment_come_back_instead_of_a_second_one(
    tracker: MlflowStore,
) -> None:
    made = tracker.create("study", "run-1", {})
    client_of(tracker).delete_run(made)
    assert tracker.tags(made) == {"rml.run_id": "run-1", "mlflow.runName": "run-1"}
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


def test_a_run_that_is_gone_for_good_is_no_error(tracker: MlflowStore) -> None:
    assert tracker.tags("0" * 32) is None


def test_artifacts_lie_under_the_given_folder_and_never_in_the_working_folder(
    tracker: MlflowStore, tmp_path: Path
) -> None:
    made = tracker.create("study", "run-1", {})
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
    made = store.create("study", "run-1", {})
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
    moved.upload(moved.create("study", "run-2", {}), picture, None)
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
    made = tracker.create("study", "run-1", {})
    other = MlflowStore(tracker.uri, tmp_path / "elsewhere" / "mlartifacts")
    other.check()
    assert (
        client_of(tracker)
        .get_run(made)
        .info.artifact_uri.startswith((tmp_path / "mlartifacts").as_uri())
    )


def test_more_parameters_metrics_and_text_than_one_call_may_carry(tracker: MlflowStore) -> None:
    made = tracker.create("study", "run-1", {f"p{i}": "x" * 9000 for i in range(230)})
    tracker.log(made, [Measurement("loss", step, 1, 0.5) for step in range(2100)])
    tracker.set_tags(made, {"rml.failure": "y" * 9000})
    run = client_of(tracker).get_run(made)
    assert len(run.data.params) == 230
    assert {len(value) for value in run.data.params.values()} == {6000}
    assert len(client_of(tracker).get_metric_history(made, "loss")) == 2100
    assert (tracker.last_step(made, "loss"), tracker.last_step(made, "other")) == (2099, -1)


def test_a_run_that_ended_can_run_again(tracker: MlflowStore) -> None:
    made = tracker.create("study", "run-1", {})
    for status in ("KILLED", "RUNNING", "FINISHED"):
        tracker.set_status(made, status)
        assert client_of(tracker).get_run(made).info.status == status


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_a_server_that_is_not_there_is_one_clear_error() -> None:
    uri = f"http://127.0.0.1:{closed_port()}"
    with pytest.raises(
        TrackingError, match=f"MLflow at {uri} cannot be used; start it, correct the tracking URI"
    ):
        MlflowStore(uri, None).check()


def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "CHECK_TIMEOUT_S", 0.1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(TrackingError, match="timed out"):
            MlflowStore(f"http://127.0.0.1:{silent.getsockname()[1]}", None).check()


@pytest.mark.parametrize("uri", ["nonsense://x", "sqlite:////proc/no/such/place/mlflow.db"])
def test_a_store_that_cannot_be_opened_is_one_clear_error(uri: str) -> None:
    with pytest.raises(TrackingError, match="cannot"):
        MlflowStore(uri, None).check()


def test_our_own_mistakes_are_not_taken_for_the_servers() -> None:
    with pytest.raises(KeyError), tracking._one_error("cannot"):
        raise KeyError("a bug")


def test_passwords_are_neither_told_nor_kept() -> None:
    uri = "postgresql://me:secret@nowhere.invalid:5432/mlflow"
    with pytest.raises(TrackingError) as caught:
        MlflowStore(uri, None).check()
    assert "postgresql://me:***@nowhere.invalid:5432/mlflow" in str(caught.value)
    assert "secret" not in str(caught.value)
