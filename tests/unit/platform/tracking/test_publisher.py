"""From run folders to MLflow: every value once, one MLflow run per run, nothing lost while the
tracker is away."""

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import requests
from mlflow import MlflowClient

from rml_platform.run.attempt import WorkerContext
from rml_platform.run.execute import execute
from rml_platform.run.run_folder import RunFolder
from rml_platform.run.task import RunTask
from rml_platform.tracking.mlflow_tracker import Tracker
from rml_platform.tracking.publisher import PUBLISHED, Publisher
from rml_trainers.data.prepared.cache import PreparedData
from tests.support.fake_trainer import GOOD, NON_FINITE, FakeTrainer
from tests.support.recorded import Store
from tests.support.tasks import NUM_STEPS, fake_config, task_for


class Away:
    """Stands in front of an MLflow client and can be unplugged."""

    def __init__(self, client: MlflowClient) -> None:
        self.client = client
        self.is_away = False

    def __getattr__(self, name: str) -> object:
        if self.is_away:
            raise requests.ConnectionError("connection refused")
        return getattr(self.client, name)


class Scene:
    """A run folder, a store, and what a person was told."""

    def __init__(self, data: PreparedData, folder: Path, store: Store) -> None:
        self.task = task_for(fake_config(GOOD), data, folder, "run-1")
        self.bad_task = task_for(fake_config(NON_FINITE), data, folder, "run-1")
        self.run = RunFolder.of(str(folder), "run-1")
        self.client = MlflowClient(store.uri)
        self.store = store
        self.folder = folder
        self.notes: list[str] = []

    def publisher(self, study: str = "study") -> Publisher:
        """A publisher of a new process."""
        self.tracker = Tracker(self.store.uri, self.folder / "mlartifacts")
        self.wire = self.tracker._client = Away(self.tracker._client)
        return Publisher(self.tracker, study, self.notes.append)

    def train(
        self, task: RunTask, launch: str = "launch-1", trainer: type[FakeTrainer] = FakeTrainer
    ) -> None:
        execute(replace(task, launch_id=launch), WorkerContext(writer=launch), trainer)

    def recorded(self) -> tuple[str, dict[str, float], dict[str, str]]:
        """Status, latest metrics and tags of the only MLflow run; fails when a value was told
        twice."""
        experiments = [e.experiment_id for e in self.client.search_experiments()]
        (run,) = self.client.search_runs(experiments)
        for key in run.data.metrics:
            steps = Counter(m.step for m in self.client.get_metric_history(run.info.run_id, key))
            assert set(steps.values()) == {1}, f"{key} told twice: {steps}"
        return run.info.status, run.data.metrics, run.data.tags

    def steps_of(self, run_id: str) -> list[int]:
        """Steps at which the loss of a run was recorded."""
        experiments = [e.experiment_id for e in self.client.search_experiments()]
        (found,) = self.client.search_runs(experiments, f"tags.`rml.run_id` = '{run_id}'")
        history = self.client.get_metric_history(found.info.run_id, "train/loss")
        return sorted(metric.step for metric in history)

    def loss_steps(self) -> list[int]:
        (run,) = self.client.search_runs(
            [e.experiment_id for e in self.client.search_experiments()]
        )
        return sorted(m.step for m in self.client.get_metric_history(run.info.run_id, "train/loss"))


@pytest.fixture
def scene(tiny_data: PreparedData, tmp_path: Path, store: Store) -> Scene:
    return Scene(tiny_data, tmp_path, store)


def test_a_finished_run_is_recorded_as_the_contract_says(scene: Scene) -> None:
    scene.train(scene.task)
    assert scene.publisher().sync([scene.run]) == []
    status, metrics, tags = scene.recorded()
    assert status == "FINISHED"
    assert metrics["final/miou"] == metrics["val/miou"] == NUM_STEPS / 100
    assert metrics["final/iou/sky"] == metrics["val/iou/sky"] == NUM_STEPS / 100
    assert {"final/accuracy", "val/accuracy", "train/loss"} < set(metrics)
    assert "val/iou/pole" not in metrics
    expected = {
        "rml.run_id": "run-1",
        "rml.study": "study",
        "rml.studies": "study",
        "rml.method": "supervised",
        "rml.data": "scenes",
        "rml.split": "french/4/12345",
        "rml.split_hash": scene.task.split_hash,
        "rml.data_hash": scene.task.data_hash,
        "rml.seed": "0",
        "rml.protocol": "scenes-32x48/teacher_1/last",
        "rml.code_version": "abc1234",
        "rml.dirty": "false",
        "rml.device": "cpu",
        "rml.attempt": "1",
        "rml.result_version": "1",
    }
    assert {key: tags.get(key) for key in expected} == expected
    assert tags["rml.host"]
    (run,) = scene.client.search_runs([e.experiment_id for e in scene.client.search_experiments()])
    assert run.data.params["schedule.warm_up_steps"] == str(NUM_STEPS)
    artifacts = {path.name for path in (scene.folder / "mlartifacts").rglob("*") if path.is_file()}
    assert {"config.yaml", "result.json", "manifest.json"} <= artifacts


def test_nothing_beyond_the_newest_checkpoint_is_sent_while_a_run_is_on_its_way(
    scene: Scene,
) -> None:
    sent: list[list[int]] = []
    publisher = scene.publisher()

    class Watched(FakeTrainer):
        def _fail(self) -> None:
            publisher.sync([scene.run])
            sent.append(scene.loss_steps())
            assert scene.recorded()[0] == "RUNNING"

    scene.train(scene.task, trainer=Watched)
    assert sent[0] == []
    assert all(max(steps, default=0) <= i for i, steps in enumerate(sent))


def test_a_failed_and_resumed_run_is_one_mlflow_run_without_repeated_values(scene: Scene) -> None:
    publisher = scene.publisher()
    scene.train(scene.bad_task)
    publisher.sync([scene.run])
    status, _, tags = scene.recorded()
    assert status == "FAILED"
    assert tags["rml.failure"] == "NonFiniteLossError: loss is nan at step 3"
    assert scene.loss_steps() == [1, 2]
    scene.train(scene.task, "launch-2")
    scene.publisher().sync([scene.run])
    status, _, tags = scene.recorded()
    assert (status, tags["rml.attempt"], tags["rml.failure"]) == ("FINISHED", "2", "")
    assert scene.loss_steps() == [1, 2, 3, 4, 5]


def test_values_measured_again_after_a_damaged_checkpoint_are_not_told_twice(scene: Scene) -> None:
    scene.train(scene.bad_task)
    scene.publisher().sync([scene.run])
    (newest,) = scene.folder.rglob("checkpoint_000000002_*/manifest.json")
    newest.unlink()
    scene.train(scene.task, "launch-2")
    scene.publisher().sync([scene.run])
    scene.recorded()
    assert scene.loss_steps() == [1, 2, 3, 4, 5]


def test_a_publisher_killed_between_sending_and_remembering_tells_nothing_twice(
    scene: Scene,
) -> None:
    scene.train(scene.bad_task)
    scene.publisher().sync([scene.run])
    before = PUBLISHED.decode(scene.run.folder.read("published.json") or b"", "published.json")
    behind = replace(before, step=-1, status="")
    scene.run.folder.write("published.json", PUBLISHED.encode(behind))
    scene.publisher().sync([scene.run])
    scene.recorded()
    assert scene.loss_steps() == [1, 2]


def test_a_tracker_that_goes_away_is_told_once_and_gets_everything_later(scene: Scene) -> None:
    publisher = scene.publisher()
    scene.train(scene.bad_task)
    scene.wire.is_away = True
    assert publisher.sync([scene.run], closing=True) == ["run-1"]
    assert publisher.sync([scene.run], closing=True) == ["run-1"]
    assert len(scene.notes) == 1
    assert "sent later" in scene.notes[0]
    scene.wire.is_away = False
    assert publisher.sync([scene.run], closing=True) == []
    assert scene.notes[1].endswith("is back")
    assert scene.loss_steps() == [1, 2]


def test_it_is_left_alone_for_a_while_after_it_went_away(scene: Scene) -> None:
    publisher = scene.publisher()
    scene.train(scene.task)
    scene.wire.is_away = True
    publisher.sync([scene.run])
    scene.wire.is_away = False
    assert publisher.sync([scene.run]) == ["run-1"]
    assert publisher.sync([scene.run], closing=True) == []


def test_what_could_not_be_sent_goes_out_with_the_next_launch(scene: Scene) -> None:
    publisher = scene.publisher()
    scene.train(scene.task)
    scene.wire.is_away = True
    assert publisher.sync([scene.run], closing=True) == ["run-1"]
    assert scene.publisher().sync([scene.run]) == []
    assert scene.recorded()[0] == "FINISHED"


def test_a_lost_database_is_filled_again_from_the_run_folders(
    scene: Scene, empty_store: Path
) -> None:
    scene.train(scene.task)
    scene.publisher().sync([scene.run])
    first = scene.recorded()[1]
    shutil.copy(empty_store, scene.folder / "mlflow.db")
    scene.client = MlflowClient(scene.store.uri)
    scene.publisher().sync([scene.run])
    assert scene.recorded()[1] == first
    assert scene.loss_steps() == [1, 2, 3, 4, 5]


def test_a_study_that_finds_a_run_done_joins_its_tags(scene: Scene) -> None:
    scene.train(scene.task)
    scene.publisher().sync([scene.run])
    scene.publisher("another").sync([scene.run])
    tags = scene.recorded()[2]
    assert (tags["rml.studies"], tags["rml.study"]) == ("another,study", "study")


def test_a_run_without_a_process_is_killed_only_when_nobody_will_restart_it(scene: Scene) -> None:
    class Dies(BaseException):
        pass

    class Dying(FakeTrainer):
        def _fail(self) -> None:
            if self.step == 3:
                raise Dies

    with pytest.raises(Dies):
        scene.train(scene.task, trainer=Dying)
    publisher = scene.publisher()
    publisher.sync([scene.run])
    assert scene.recorded()[0] == "RUNNING"
    publisher.sync([scene.run], closing=True)
    assert scene.recorded()[0] == "KILLED"
    scene.train(scene.task, "launch-2")
    scene.publisher().sync([scene.run])
    assert scene.recorded()[0] == "FINISHED"
    assert scene.loss_steps() == [1, 2, 3, 4, 5]


def test_runs_that_never_began_are_not_recorded(scene: Scene) -> None:
    assert scene.publisher().sync([scene.run]) == []
    assert [e.name for e in scene.client.search_experiments()] == ["Default"]


@pytest.mark.parametrize("name", ["published.json", "metrics/000000002.json", "task.json"])
def test_a_damaged_file_is_named_and_holds_up_its_own_run_only(scene: Scene, name: str) -> None:
    scene.train(scene.task)
    was_sent = name == "published.json"
    if was_sent:
        scene.publisher().sync([scene.run], closing=True)
    other = RunFolder.of(str(scene.folder), "run-2")
    scene.train(replace(scene.task, run_id="run-2"))
    path = scene.folder / "runs" / "run-1" / name
    path.write_bytes(path.read_bytes()[:7])
    publisher = scene.publisher()
    is_lost = name == "task.json"
    assert publisher.sync([scene.run, other], closing=True) == (["run-1"] if is_lost else [])
    publisher.sync([scene.run, other], closing=True)
    (note,) = scene.notes
    assert f"{path} is damaged: Invalid JSON" in note
    assert scene.steps_of("run-2") == [1, 2, 3, 4, 5]
    if not is_lost:
        assert scene.steps_of("run-1") == ([1, 2, 3, 4, 5] if was_sent else [1, 3, 4, 5])
