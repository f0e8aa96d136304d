"""`rml tracking sync`: what a store lacks comes from the run folders, and nothing comes twice."""

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from typer.testing import CliRunner

from rml_platform.cli import app
from rml_platform.run.run_folder import RunFolder
from rml_platform.run.storage import Folder
from rml_platform.tracking.mlflow_tracker import MlflowTracker
from rml_platform.tracking.replay import GIVE_UP_AFTER, Replayed, replay, summary_of
from rml_platform.tracking.tracker import Sent, TrackingError
from rml_trainers.data.prepared.cache import PreparedData
from tests.support.platform.fake_trainer import FakeTrainer
from tests.support.platform.tracked_run import MlflowScene
from tests.support.recorded import Store


@pytest.fixture
def scene(tiny_data: PreparedData, tmp_path: Path, store: Store) -> MlflowScene:
    """Two runs, a finished one and one that failed, published."""
    scene = MlflowScene(tiny_data, tmp_path, store)
    scene.train(scene.task)
    scene.train(replace(scene.bad_task, run_id="run-2"))
    folders = [RunFolder.of(str(tmp_path), name) for name in ("run-1", "run-2")]
    assert scene.publisher().sync(folders, closing=True) == []
    return scene


def sync(scene: MlflowScene, *words: str, uri: str | None = None) -> tuple[int, list[str]]:
    """Exit code and printed lines of `rml tracking sync` into the scene's store, or another."""
    where = ("--out", str(scene.folder), "--tracking-uri", uri or scene.store.uri)
    done = CliRunner().invoke(app, ["tracking", "sync", *words, *where])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output.splitlines()


def test_what_is_complete_is_left_alone(scene: MlflowScene) -> None:
    code, lines = sync(scene)
    assert code == 0
    assert lines == [f"MLflow at {scene.store.uri}: 2 runs: 2 had everything; 0 values sent"]


def test_another_store_gets_everything_and_then_nothing(
    scene: MlflowScene, empty_store: Path, tmp_path: Path
) -> None:
    other = Store.copy(empty_store, tmp_path / "other.db")
    code, lines = sync(scene, uri=other.uri)
    assert code == 0
    assert [line.split(",")[0] for line in lines[:2]] == ["run-1: new", "run-2: new"]
    assert "2 new" in lines[2]
    first = scene.runs()
    scene.client = other.client
    assert _contents(scene) == _contents(scene, first)
    assert "2 had everything; 0 values" in sync(scene, uri=other.uri)[1][-1]
    scene.client = scene.store.client
    assert "2 had everything; 0 values" in sync(scene)[1][-1], "the first one is not disturbed"


def _contents(scene: MlflowScene, runs: list | None = None) -> dict:  # type: ignore[type-arg]
    runs = scene.runs() if runs is None else runs
    return {
        run.data.tags["rml.run_id"]: (
            run.info.status,
            run.data.metrics,
            run.data.params,
            {key: value for key, value in run.data.tags.items() if key.startswith("rml.")},
        )
        for run in runs
    }


def test_a_database_from_yesterdays_backup_is_brought_up_to_date(
    scene: MlflowScene, tmp_path: Path
) -> None:
    shutil.copy(scene.store.file, tmp_path / "backup.db")
    wanted = _contents(scene)
    scene.train(replace(scene.task, run_id="run-2"), "launch-2")
    scene.publisher().sync([RunFolder.of(str(tmp_path), "run-2")], closing=True)
    after = _contents(scene)
    assert wanted["run-2"][0] == "FAILED" and after["run-2"][0] == "FINISHED"
    shutil.copy(tmp_path / "backup.db", scene.store.file)
    lines = sync(scene)[1]
    assert "run-2: " in lines[0] and "status FINISHED" in lines[0]
    assert "1 completed, 1 had everything" in lines[-1]
    assert _contents(scene) == after
    assert scene.steps_of("run-2") == [1, 2, 3, 4, 5]


def test_a_hole_in_a_history_is_filled_on_request(scene: MlflowScene) -> None:
    with closing(sqlite3.connect(scene.store.file)) as database, database:
        database.execute("DELETE FROM metrics WHERE step = 2 AND key = 'train/loss'")
    assert scene.steps_of("run-1") == [1, 3, 4, 5]
    assert "2 had everything" in sync(scene)[1][-1]
    assert scene.steps_of("run-1") == [1, 3, 4, 5]
    assert sync(scene, "--every-value")[1][-1].endswith("2 completed; 2 values sent")
    assert scene.steps_of("run-1") == [1, 2, 3, 4, 5]
    assert scene.steps_of("run-2") == [1, 2]


def test_files_that_lack_are_sent_again(scene: MlflowScene) -> None:
    (result,) = scene.folder.glob("mlartifacts/study/*/artifacts/result.json")
    result.unlink()
    assert "1 completed, 1 had everything" in sync(scene)[1][-1]
    assert result.is_file()


def test_studies_that_found_a_run_done_are_not_lost_with_the_store(
    scene: MlflowScene, empty_store: Path
) -> None:
    scene.publisher("another").sync([scene.run])
    shutil.copy(empty_store, scene.store.file)
    scene.client = MlflowClient(scene.store.uri)
    sync(scene)
    (tags,) = (run.data.tags for run in scene.runs() if run.data.tags["rml.run_id"] == "run-1")
    assert (tags["rml.studies"], tags["rml.study"]) == ("another,study", "study")


def test_a_damaged_run_is_named_and_the_others_are_sent(
    scene: MlflowScene, empty_store: Path, tmp_path: Path
) -> None:
    task = tmp_path / "runs" / "run-1" / "task.json"
    task.write_text("{")
    (tmp_path / "runs" / "empty").mkdir()
    other = Store.copy(empty_store, tmp_path / "other.db")
    code, lines = sync(scene, uri=other.uri)
    assert code == 1
    assert f"{task} is damaged" in lines[0]
    assert "3 runs: 1 new, 1 not sent, 1 not begun" in lines[-1]


def test_without_a_tracker_there_is_nothing_to_send_to(scene: MlflowScene) -> None:
    with pytest.raises(TrackingError, match="there is no tracker"):
        sync(scene, uri="none")


class Away(MlflowTracker):
    """A store that answers nobody."""

    def __init__(self) -> None:
        self.asked = 0

    def replay(self, *_: object, **__: object) -> Sent:
        self.asked += 1
        raise TrackingError("away")


def test_a_store_that_is_away_is_given_up(scene: MlflowScene) -> None:
    tracker = Away()
    runs: list[tuple[str, str | None]] = [("run-1", None)] * 10
    given = replay(str(scene.folder), runs, tracker, every_value=False, on_note=scene.notes.append)
    with pytest.raises(TrackingError, match="away"):
        list(given)
    assert tracker.asked == GIVE_UP_AFTER


def test_a_run_that_another_machine_is_at_is_left_to_its_launch(
    scene: MlflowScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Replayed] = []

    class Looking(FakeTrainer):
        def _fail(self) -> None:
            monkeypatch.setattr(Folder, "local", None)
            try:
                runs = [("run-3", None)]
                found.extend(
                    replay(str(scene.folder), runs, Away(), every_value=False, on_note=print)
                )
            finally:
                monkeypatch.undo()

    scene.train(replace(scene.task, run_id="run-3"), trainer=Looking)
    assert {one.left_alone for one in found} == {"is being trained; its launch sends it"}
    assert summary_of(found[:1]).startswith("1 runs: 1 left to their launch")
