"""`rml tracking serve`, a real MLflow server, on SQLite and on a real PostgreSQL: runs arrive once,
whatever dies; strangers are turned away."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import requests
from mlflow import MlflowClient

from rml_dashboards.contract.store_uri import with_driver
from rml_dashboards.records import mlflow_reader
from rml_dashboards.records.mlflow_reader import MlflowReader
from rml_platform.run.run_folder import RunFolder
from rml_platform.tracking import reaching
from rml_platform.tracking.mlflow_store import MlflowStore
from rml_platform.tracking.mlflow_tracker import MlflowTracker
from rml_platform.tracking.opening import open_tracker
from rml_platform.tracking.publisher import Publisher
from rml_platform.tracking.tracker import TrackingError
from rml_trainers.data.prepared.cache import PreparedData
from tests.support.platform.tracked_run import Cut, Killed, Scene
from tests.support.servers.postgres import URI_PASSWORD, free_port, running_postgres

RML = (sys.executable, "-c", "from rml_platform.cli import main; main()")


@contextlib.contextmanager
def serving(
    out: Path, port: int, *options: str, environment: Mapping[str, str] | None = None
) -> Iterator["subprocess.Popen[str]"]:
    """`rml tracking serve` until the context is left; it answers when the context begins."""
    command = [*RML, "tracking", "serve", "--out", str(out), "--port", str(port), *options]
    log = (out.parent / f"{out.name}-{port}.log").open("a+")
    server = subprocess.Popen(
        command, stdout=log, stderr=log, text=True, env={**os.environ, **(environment or {})}
    )
    try:
        while not _answers(port):
            log.seek(0)
            assert server.poll() is None, log.read()
            time.sleep(0.1)
        yield server
    finally:
        _end(server)
        log.close()


def _answers(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/health", timeout=5).ok
    except requests.RequestException:
        return False


def _end(server: "subprocess.Popen[str]") -> None:
    if server.poll() is None:
        family = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
        server.send_signal(signal.SIGTERM)
        _, alive = psutil.wait_procs(family, timeout=20)
        for process in alive:
            process.kill()
    server.wait()


def kill(server: "subprocess.Popen[str]") -> None:
    """The server and its worker, at once."""
    for worker in psutil.Process(server.pid).children(recursive=True):
        worker.kill()
    server.kill()
    server.wait()


def publisher_to(uri: str, after: int = 0) -> Publisher:
    """A publisher of a new process, killed after so many requests (0: never)."""
    store = MlflowStore(uri, None)
    store._client = Cut(store._client, after, Killed())
    return Publisher(MlflowTracker(store), "study", lambda note: None)


def test_a_server_on_postgresql_that_is_killed_loses_and_doubles_nothing(
    tiny_data: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_reader, "PAGE_SIZE", 1)  # each run is a page of its own
    scene = Scene(tiny_data, tmp_path)
    scene.train(scene.bad_task)
    out = tmp_path / "server"
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with running_postgres() as database:
        with serving(out, port, "--backend-store-uri", database) as server:
            for _ in range(4):  # each gets five requests further
                with pytest.raises(Killed):
                    publisher_to(url, 5).sync([scene.run], closing=True)
            family = [psutil.Process(server.pid)]
            family += family[0].children(recursive=True)
            assert not any(URI_PASSWORD in word for one in family for word in one.cmdline())
            listening = {c.laddr.ip for one in family for c in one.net_connections("tcp")}
            assert listening == {"127.0.0.1"}
            stranger = {"Host": "evil.example.org"}
            assert requests.get(url, headers=stranger, timeout=20).status_code == 403
            kill(server)
        scene.train(scene.task, "launch-2")
        assert publisher_to(url).sync([scene.run], closing=True) == ["run-1"]
        with serving(out, port, "--backend-store-uri", database):
            assert publisher_to(url).sync([scene.run], closing=True) == []
            assert _sent_by_sync(scene, url) == "1 runs: 1 had everything; 0 values sent"
            through_it = MlflowReader(url, tmp_path / "ledger").records()
            assert list(through_it.runs["run_id"]) == ["run-1"]
            files = MlflowClient(url)
            (run,) = files.search_runs([files.get_experiment_by_name("study").experiment_id])
            names = {file.path for file in files.list_artifacts(run.info.run_id)}
            assert {"config.yaml", "checkpoint", "result.json"} <= names
        # The database itself is as good a tracking URI, for publishing and for reading.
        scene.train(replace(scene.task, run_id="run-2", study="direct"))
        tracker = MlflowTracker(MlflowStore(database, tmp_path / "mlartifacts"))
        second = RunFolder.of(str(tmp_path), "run-2")
        assert Publisher(tracker, "direct", print).sync([second], closing=True) == []
        client = MlflowClient(with_driver(database))
        experiment = client.get_experiment_by_name("study")
        (run,) = client.search_runs([experiment.experiment_id])
        history = client.get_metric_history(run.info.run_id, "train/loss")
        assert [point.step for point in history] == [1, 2, 3, 4, 5]
        # The tag is there only where the failed attempt was sent that far.
        assert (run.info.status, run.data.tags.get("rml.failure", "")) == ("FINISHED", "")
        records = MlflowReader(database, tmp_path / "ledger").records()
        assert list(records.runs["run_id"]) == ["run-1", "run-2"]
        assert (out / "mlartifacts").is_dir()


OPENED = """
import sys
from pathlib import Path
from rml_platform.tracking.mlflow_store import MlflowStore
store = MlflowStore(sys.argv[1], Path(sys.argv[2]))
store.check()
print(store.experiment("study"))
"""


def test_several_first_launches_on_a_new_postgresql_make_its_tables_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_postgres() as database:
        words = [sys.executable, "-c", OPENED, database, str(tmp_path)]
        launches = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(3)]
        assert {launch.communicate()[0] for launch in launches} == {"1\n"}
        monkeypatch.setattr(reaching, "HELD_FOR_S", 1.0)
        with reaching.alone_at(database):
            said = r"another process has been opening postgresql://.*\*\*\*.* for more than 1 s"
            with pytest.raises(TrackingError, match=said), reaching.alone_at(database):
                raise AssertionError("not reached")
        with reaching.alone_at(database):
            """It is free again."""


def test_a_server_keeps_the_files_of_every_launcher(
    tiny_data: PreparedData, tmp_path: Path
) -> None:
    scene = Scene(tiny_data, tmp_path / "launcher")
    scene.train(scene.task)
    out = tmp_path / "server"
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    client = MlflowClient(url)
    with serving(out, port):
        assert _sent_by_sync(scene, url).startswith("1 runs: 1 new")
        experiment = client.get_experiment_by_name("study")
        (run,) = client.search_runs([experiment.experiment_id])
        assert run.info.artifact_uri.startswith("mlflow-artifacts:")
        kept = {file.name for file in (out / "mlartifacts").rglob("*") if file.is_file()}
        assert {"config.yaml", "manifest.json", "result.json"} <= kept
        assert not (scene.folder / "mlartifacts").exists()
        # One whose files earlier versions kept on the launcher's disk goes on there; a launcher
        # that does not have that disk says so before it makes a run.
        old = (scene.folder / "mlartifacts" / "old").as_uri()
        client.create_experiment("old", artifact_location=old)
        scene.train(replace(scene.task, run_id="run-2", study="old"))
        second = RunFolder.of(str(scene.folder), "run-2")
        tracker = open_tracker(url, tmp_path / "elsewhere", tmp_path / "elsewhere" / "mlartifacts")
        with pytest.raises(TrackingError, match=f"they lie at {old}, and this machine has no"):
            tracker.publish(second, "old", closing=True, on_note=pytest.fail)
        assert not client.search_runs([client.get_experiment_by_name("old").experiment_id])
        tracker = open_tracker(url, scene.folder, scene.folder / "mlartifacts")
        tracker.publish(second, "old", closing=True, on_note=pytest.fail)
        assert list((scene.folder / "mlartifacts" / "old").glob("*/artifacts/result.json"))


def _sent_by_sync(scene: Scene, url: str) -> str:
    """The last line of `rml tracking sync`, without the store's name."""
    command = [*RML, "tracking", "sync", "--out", str(scene.folder), "--tracking-uri", url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1].removeprefix(f"MLflow at {url}: ")


def test_a_server_with_accounts_lets_only_them_in(
    tiny_data: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(tiny_data, tmp_path)
    scene.train(scene.task)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    password = {"MLFLOW_AUTH_ADMIN_PASSWORD": "a long enough one"}
    with serving(tmp_path / "server", port, "--auth", environment=password):
        refused = requests.get(f"{url}/api/2.0/mlflow/experiments/get?experiment_id=0", timeout=20)
        assert refused.status_code == 401
        assert publisher_to(url).sync([scene.run], closing=True) == ["run-1"]
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password["MLFLOW_AUTH_ADMIN_PASSWORD"])
        assert publisher_to(url).sync([scene.run], closing=True) == []
    folder = RunFolder.of(str(tmp_path), "run-1").folder
    assert b"FINISHED" in (folder.read("published.json") or b"")
