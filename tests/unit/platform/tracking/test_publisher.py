"""From run folders to a tracker, MLflow or none: every value once, one record per run, nothing lost
while the tracker is away."""

import errno
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
from mlflow import MlflowClient

from rml_dashboards.contract.metric_keys import FINAL_STEP
from rml_dashboards.contract.tags import place_tags
from rml_platform.run.run_folder import RunFolder
from rml_platform.tracking.mlflow_tracker import PUBLISHED
from rml_platform.tracking.publisher import Publisher
from rml_trainers.data.prepared.cache import PreparedData
from tests.support.platform.fake_trainer import FakeTrainer
from tests.support.platform.tasks import NUM_STEPS
from tests.support.platform.tracked_run import FolderScene, MlflowScene, Scene
from tests.support.recorded import Store


@pytest.fixture
def mlflow_scene(tiny_data: PreparedData, tmp_path: Path, store: Store) -> MlflowScene:
    return MlflowScene(tiny_data, tmp_path, store)


@pytest.fixture(params=["mlflow", "none"])
def scene(request: pytest.FixtureRequest, tiny_data: PreparedData, tmp_path: Path) -> Scene:
    if request.param == "none":
        return FolderScene(tiny_data, tmp_path)
    return MlflowScene(tiny_data, tmp_path, request.getfixturevalue("store"))


def test_a_finished_run_is_recorded_as_the_contract_says(scene: Scene) -> None:
    scene.train(scene.task)
    assert scene.publisher().sync([scene.run]) == []
    recorded = scene.only()
    metrics = recorded.metrics
    tags = recorded.tags
    assert recorded.status == "FINISHED"
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
    assert recorded.steps["final/miou"] == [FINAL_STEP], "for which MLflow draws bars"
    assert metrics["final/seconds"] > 0


def test_a_finished_run_whose_last_word_is_lost_is_recorded_all_the_same(scene: Scene) -> None:
    scene.train(scene.task)
    scene.run.folder.delete("heartbeat.json")
    assert scene.publisher().sync([scene.run], closing=True) == []
    recorded = scene.only()
    assert recorded.status == "FINISHED"
    assert recorded.metrics["final/miou"] == NUM_STEPS / 100
    assert (recorded.tags["rml.device"], recorded.tags["rml.attempt"]) == ("cpu", "1")


def test_parameters_and_files_reach_mlflow(mlflow_scene: MlflowScene) -> None:
    mlflow_scene.train(mlflow_scene.task)
    mlflow_scene.publisher().sync([mlflow_scene.run])
    (run,) = mlflow_scene.runs()
    assert run.data.params["schedule.warm_up_steps"] == str(NUM_STEPS)
    files = mlflow_scene.folder / "mlartifacts"
    artifacts = {path.name for path in files.rglob("*") if path.is_file()}
    assert {"config.yaml", "result.json", "manifest.json"} <= artifacts


def test_mlflow_shows_a_person_what_a_run_is(mlflow_scene: MlflowScene) -> None:
    mlflow_scene.train(mlflow_scene.task)
    mlflow_scene.publisher().sync([mlflow_scene.run])
    (run,) = mlflow_scene.runs()
    (used,) = run.inputs.dataset_inputs
    task = mlflow_scene.task
    assert (used.dataset.name, used.dataset.source_type) == ("scenes", "rml")
    assert used.dataset.digest == f"{task.data_hash}-{task.split_hash}"
    assert "french/4/12345" in used.dataset.profile
    assert {tag.key: tag.value for tag in used.tags} == {"mlflow.data.context": "training"}
    note = run.data.tags["mlflow.note.content"]
    assert note.startswith("**supervised** on scenes, split `french/4/12345`, seed 0\n\n* ")
    assert "rml predict run-1 " in note
    page = f"#/experiments/{run.info.experiment_id}/runs"
    assert f"[pictures]({page}/{run.info.run_id}/artifacts/predictions)" in note
    assert f"[table, report and figures of the study]({page}?searchFilter=tags." in note
    assert run.data.tags["mlflow.source.name"] == "study (abc1234)"
    client = mlflow_scene.client
    client.set_tag(run.info.run_id, "mlflow.note.content", "mine")
    mlflow_scene.publisher("another").sync([mlflow_scene.run], closing=True)
    assert mlflow_scene.runs()[0].data.tags["mlflow.note.content"] == "mine"


def test_mlflow_shows_how_many_images_have_labels(mlflow_scene: MlflowScene) -> None:
    task = replace(mlflow_scene.task, num_labelled=4, num_unlabelled=16)
    mlflow_scene.train(task)
    mlflow_scene.publisher().sync([mlflow_scene.run])
    mlflow_scene.publisher("another").sync([mlflow_scene.run], closing=True)
    (run,) = mlflow_scene.runs()
    used = {one.dataset.name: one for one in run.inputs.dataset_inputs}
    assert set(used) == {"scenes, 4 labelled", "scenes, 16 unlabelled"}
    for name, part in (("scenes, 4 labelled", "labelled"), ("scenes, 16 unlabelled", "unlabelled")):
        told = json.loads(used[name].dataset.profile)
        assert (told["labelled"], told["unlabelled"]) == (4, 16)
        assert told["num_rows"] == told[part]
        assert told["split"] == "french/4/12345"
        assert used[name].dataset.digest == f"{task.data_hash}-{task.split_hash}"
        assert {tag.value for tag in used[name].tags} == {part}


def test_mlflow_groups_runs_by_their_place_in_a_study(mlflow_scene: MlflowScene) -> None:
    mlflow_scene.train(mlflow_scene.task)
    tracker = mlflow_scene.tracker()
    for study, places in (("one", [("RML", "1/8"), ("RML", "1/4")]), ("two", [("A", "")])):
        labels = {"run-1": place_tags(study, places)}
        publisher = Publisher(tracker, study, mlflow_scene.notes.append, labels)
        assert publisher.sync([mlflow_scene.run]) == []
    tags = mlflow_scene.runs()[0].data.tags
    told = {key: tags.get(key) for key in ("rml.row.one", "rml.column.one", "rml.row.two")}
    assert told == {"rml.row.one": "RML", "rml.column.one": "1/8, 1/4", "rml.row.two": "A"}
    assert "rml.column.two" not in tags
    assert tags["rml.studies"] == "one,study,two"


@pytest.mark.parametrize("is_asked", [True, False])
def test_use_of_the_machine_is_recorded_where_it_is_asked_for(scene: Scene, is_asked: bool) -> None:
    scene.train(replace(scene.task, system_metrics=is_asked))
    assert scene.publisher().sync([scene.run], closing=True) == []
    steps = scene.only().steps
    assert ("system/cpu_utilization_percentage" in steps) == is_asked
    if is_asked:
        assert steps["system/process_memory_usage_megabytes"] == steps["train/loss"]


def test_nothing_beyond_the_newest_checkpoint_is_sent_while_a_run_is_on_its_way(
    scene: Scene,
) -> None:
    sent: list[list[int]] = []
    publisher = scene.publisher()

    class Watched(FakeTrainer):
        def _fail(self) -> None:
            publisher.sync([scene.run])
            sent.append(scene.loss_steps())
            assert scene.only().status == "RUNNING"

    scene.train(scene.task, trainer=Watched)
    assert sent[0] == []
    assert all(max(steps, default=0) <= i for i, steps in enumerate(sent))


def test_a_failed_and_resumed_run_is_one_mlflow_run_without_repeated_values(scene: Scene) -> None:
    publisher = scene.publisher()
    scene.train(scene.bad_task)
    publisher.sync([scene.run])
    recorded = scene.only()
    assert recorded.status == "FAILED"
    assert recorded.tags["rml.failure"] == "NonFiniteLossError: loss is nan at step 3"
    assert scene.loss_steps() == [1, 2]
    scene.train(scene.task, "launch-2")
    scene.publisher().sync([scene.run])
    recorded = scene.only()
    assert (recorded.status, recorded.tags["rml.attempt"]) == ("FINISHED", "2")
    assert not recorded.tags.get("rml.failure"), "it is overcome"
    assert scene.loss_steps() == [1, 2, 3, 4, 5]


def test_values_measured_again_after_a_damaged_checkpoint_are_not_told_twice(scene: Scene) -> None:
    scene.train(scene.bad_task)
    scene.publisher().sync([scene.run])
    (newest,) = scene.folder.rglob("checkpoint_000000002_*/manifest.json")
    newest.unlink()
    scene.train(scene.task, "launch-2")
    scene.publisher().sync([scene.run])
    scene.only()
    assert scene.loss_steps() == [1, 2, 3, 4, 5]


def test_a_publisher_killed_between_sending_and_remembering_tells_nothing_twice(
    mlflow_scene: MlflowScene,
) -> None:
    mlflow_scene.train(mlflow_scene.bad_task)
    mlflow_scene.publisher().sync([mlflow_scene.run])
    before = PUBLISHED.decode(
        mlflow_scene.run.folder.read("published.json") or b"", "published.json"
    )
    behind = replace(before, step=-1, status="")
    mlflow_scene.run.folder.write("published.json", PUBLISHED.encode(behind))
    mlflow_scene.publisher().sync([mlflow_scene.run])
    mlflow_scene.only()
    assert mlflow_scene.loss_steps() == [1, 2]


def test_a_tracker_that_goes_away_is_told_once_and_gets_everything_later(
    mlflow_scene: MlflowScene,
) -> None:
    publisher = mlflow_scene.publisher()
    mlflow_scene.train(mlflow_scene.bad_task)
    mlflow_scene.wire.is_away = True
    assert publisher.sync([mlflow_scene.run], closing=True) == ["run-1"]
    assert publisher.sync([mlflow_scene.run], closing=True) == ["run-1"]
    assert len(mlflow_scene.notes) == 1
    assert "sent later" in mlflow_scene.notes[0]
    mlflow_scene.wire.is_away = False
    assert publisher.sync([mlflow_scene.run], closing=True) == []
    assert mlflow_scene.notes[1].endswith("is back")
    assert mlflow_scene.loss_steps() == [1, 2]


def test_a_run_whose_storage_is_away_is_sent_later(tmp_path: Path) -> None:
    run = RunFolder.of(str(tmp_path), "run-1")
    away = OSError(errno.ESTALE, os.strerror(errno.ESTALE))
    forbidden = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    tracker = Mock(publish=Mock(side_effect=[away, None, forbidden, None, forbidden]))
    tracker.name = "MLflow"
    said: list[str] = []
    publisher = Publisher(tracker, "study", said.append)
    assert publisher.sync([run]) == ["run-1"]
    assert publisher.sync([run], closing=True) == []
    assert said[0].startswith(
        "the storage is away: [Errno 116] Stale file handle. Training goes on"
    )
    assert said[1:] == ["MLflow is back"]
    other = RunFolder.of(str(tmp_path), "run-2")
    assert publisher.sync([run, other]) == ["run-1"], "a folder holds up its own run only"
    assert publisher.sync([run]) == ["run-1"]
    (told,) = said[2:]
    assert told == f"{run.folder.path}: {forbidden}; what the tracker lacks of it is sent later"


def test_it_is_left_alone_for_a_while_after_it_went_away(mlflow_scene: MlflowScene) -> None:
    publisher = mlflow_scene.publisher()
    mlflow_scene.train(mlflow_scene.task)
    mlflow_scene.wire.is_away = True
    publisher.sync([mlflow_scene.run])
    mlflow_scene.wire.is_away = False
    assert publisher.sync([mlflow_scene.run]) == ["run-1"]
    assert publisher.sync([mlflow_scene.run], closing=True) == []


def test_what_could_not_be_sent_goes_out_with_the_next_launch(mlflow_scene: MlflowScene) -> None:
    publisher = mlflow_scene.publisher()
    mlflow_scene.train(mlflow_scene.task)
    mlflow_scene.wire.is_away = True
    assert publisher.sync([mlflow_scene.run], closing=True) == ["run-1"]
    assert mlflow_scene.publisher().sync([mlflow_scene.run]) == []
    assert mlflow_scene.only().status == "FINISHED"


def test_a_lost_database_is_filled_again_from_the_run_folders(
    mlflow_scene: MlflowScene, empty_store: Path
) -> None:
    mlflow_scene.train(mlflow_scene.task)
    mlflow_scene.publisher().sync([mlflow_scene.run])
    first = mlflow_scene.only().metrics
    shutil.copy(empty_store, mlflow_scene.folder / "mlflow.db")
    mlflow_scene.client = MlflowClient(mlflow_scene.store.uri)
    mlflow_scene.publisher().sync([mlflow_scene.run])
    assert mlflow_scene.only().metrics == first
    assert mlflow_scene.loss_steps() == [1, 2, 3, 4, 5]


def test_a_study_that_finds_a_run_done_joins_its_tags(scene: Scene) -> None:
    scene.train(scene.task)
    scene.publisher().sync([scene.run])
    scene.publisher("another").sync([scene.run])
    tags = scene.only().tags
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
    # A folder says how it is; MLflow is told by a launch that may be about to start the run again.
    assert scene.only().status == ("RUNNING" if isinstance(scene, MlflowScene) else "KILLED")
    publisher.sync([scene.run], closing=True)
    assert scene.only().status == "KILLED"
    scene.train(scene.task, "launch-2")
    scene.publisher().sync([scene.run])
    assert scene.only().status == "FINISHED"
    assert scene.loss_steps() == [1, 2, 3, 4, 5]


def test_runs_that_never_began_are_not_recorded(scene: Scene) -> None:
    assert scene.publisher().sync([scene.run]) == []
    assert scene.recorded() is None


def test_without_a_tracker_nothing_is_written_that_the_folder_does_not_say_itself(
    tiny_data: PreparedData, tmp_path: Path
) -> None:
    scene = FolderScene(tiny_data, tmp_path)
    scene.train(scene.task)
    before = sorted(tmp_path.rglob("*"))
    scene.publisher().sync([scene.run], closing=True)
    assert sorted(tmp_path.rglob("*")) == before
    for _ in range(2):
        scene.publisher("another").sync([scene.run], closing=True)
    added = {path.relative_to(tmp_path).as_posix() for path in set(tmp_path.rglob("*")) - {*before}}
    assert added == {"runs/run-1/studies", "runs/run-1/studies/another"}


@pytest.mark.parametrize("name", ["published.json", "metrics/000000002.json", "task.json"])
def test_a_damaged_file_is_named_and_holds_up_its_own_run_only(
    mlflow_scene: MlflowScene, name: str
) -> None:
    mlflow_scene.train(mlflow_scene.task)
    was_sent = name == "published.json"
    if was_sent:
        mlflow_scene.publisher().sync([mlflow_scene.run], closing=True)
    other = RunFolder.of(str(mlflow_scene.folder), "run-2")
    mlflow_scene.train(replace(mlflow_scene.task, run_id="run-2"))
    path = mlflow_scene.folder / "runs" / "run-1" / name
    path.write_bytes(path.read_bytes()[:7])
    publisher = mlflow_scene.publisher()
    is_lost = name == "task.json"
    assert publisher.sync([mlflow_scene.run, other], closing=True) == (["run-1"] if is_lost else [])
    publisher.sync([mlflow_scene.run, other], closing=True)
    (note,) = mlflow_scene.notes
    assert f"{path} is damaged: Invalid JSON" in note
    assert mlflow_scene.steps_of("run-2") == [1, 2, 3, 4, 5]
    if not is_lost:
        assert mlflow_scene.steps_of("run-1") == ([1, 2, 3, 4, 5] if was_sent else [1, 3, 4, 5])
