"""What a run reads is found where it is launched, and used in place or brought where it trains."""

import dataclasses
import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rml_platform.run.attempt import WorkerContext
from rml_platform.run.execute import execute
from rml_platform.run.faults import claims, outages
from rml_platform.run.files.input_store import InputStore
from rml_platform.run.files.inputs import InputFinder, LocalInput, in_place, on_this_node
from rml_platform.run.run_folder import RunFolder
from rml_platform.run.storage import Folder
from rml_platform.run.task import RUN_TASK, RunTask, config_to_json
from rml_trainers.config import SplitConfig
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.errors import ConfigError, DataError
from rml_trainers.networks.deeplab_v2 import DeepLabV2Config
from tests.support.platform.fake_trainer import GOOD, FakeTrainer
from tests.support.platform.object_store import s3_endpoint as s3_endpoint
from tests.support.platform.object_store import s3_uri as s3_uri
from tests.support.platform.tasks import fake_config, task_for


@pytest.fixture
def data(tiny_data: PreparedData, tmp_path: Path) -> PreparedData:
    """A copy that can be moved away."""
    return PreparedData.open(Path(shutil.copytree(tiny_data.folder, tmp_path / "launcher/data")))


@pytest.fixture
def task(data: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunTask:
    monkeypatch.setenv("RML_CACHE", str(tmp_path / "node"))
    monkeypatch.setattr(claims, "SETTLE_S", 0.0)
    return task_for(fake_config(GOOD), data, tmp_path / "storage", "run-1")


def with_inputs(task: RunTask, found: tuple[LocalInput, ...]) -> RunTask:
    return dataclasses.replace(task, inputs=tuple(one.stored for one in found))


def stored(task: RunTask) -> RunTask:
    """The task as a launcher hands it out, with all that it reads in the storage."""
    found = InputFinder().inputs_of(task)
    for one in found:
        InputStore(task.storage).put(one.stored.name, one.files, lambda text: None)
    return with_inputs(task, found)


def everywhere(task: RunTask, tmp_path: Path) -> RunTask:
    """The same run with files for everything that a configuration can name."""
    (tmp_path / "launcher/w.safetensors").write_bytes(b"weights")
    (tmp_path / "root").mkdir()
    (tmp_path / "root/labelled.txt").write_text("scene_00000\n")
    config = dataclasses.replace(
        task.config,
        network=DeepLabV2Config(
            backbone="test_resnet",
            weights="file",
            weights_file=str(tmp_path / "launcher/w.safetensors"),
        ),
        split=SplitConfig(family="lists", labelled_list="labelled.txt"),
    )
    return dataclasses.replace(
        task, config_json=config_to_json(config), data_root=str(tmp_path / "root")
    )


def test_everything_that_a_run_reads_is_found_and_named_by_content(
    task: RunTask, tmp_path: Path
) -> None:
    read = everywhere(task, tmp_path)
    found = {one.stored.role: one for one in InputFinder().inputs_of(read)}
    assert found.keys() == {"prepared", "network.weights_file", "split.labelled_list"}
    assert found["prepared"].stored.name == f"scenes-{task.data_hash}"
    assert {"train.arrow", "val.arrow", "manifest.json"} <= found["prepared"].files.keys()
    assert "sources.json" not in found["prepared"].files
    assert found["split.labelled_list"].path == tmp_path / "root/labelled.txt"
    before = found["network.weights_file"].stored.name
    (tmp_path / "launcher/w.safetensors").write_bytes(b"others!")
    again = {one.stored.role: one.stored.name for one in InputFinder().inputs_of(read)}
    assert again["network.weights_file"] != before
    assert again["split.labelled_list"] == found["split.labelled_list"].stored.name
    found = {one.stored.role: one for one in InputFinder().inputs_of(task)}
    assert found.keys() == {"prepared"}


def test_a_file_that_is_not_there_is_refused_by_its_key(task: RunTask, tmp_path: Path) -> None:
    task = everywhere(task, tmp_path)
    (tmp_path / "launcher/w.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"network\.weights_file = '.*w\.safetensors': no such"):
        InputFinder().inputs_of(task)


def test_what_is_in_place_is_used_there(task: RunTask, tmp_path: Path) -> None:
    task = everywhere(task, tmp_path)
    task = with_inputs(task, InputFinder().inputs_of(task))
    with on_this_node(task, pytest.fail) as here:
        assert here.prepared_path == task.prepared_path
        assert here.config.split.labelled_list == str(tmp_path / "root/labelled.txt")
    assert not (tmp_path / "node").exists()


def test_what_is_not_here_is_brought(task: RunTask, tmp_path: Path) -> None:
    task = stored(everywhere(task, tmp_path))
    content = (Path(task.prepared_folder) / "train.arrow").read_bytes()
    shutil.rmtree(tmp_path / "launcher")
    shutil.rmtree(tmp_path / "root")
    said: list[str] = []
    with on_this_node(task, said.append) as here:
        assert here.prepared_path == tmp_path / "node" / f"scenes-{task.data_hash}"
        assert (here.prepared_path / "train.arrow").read_bytes() == content
        file = json.loads(here.config_json)["network"]["weights_file"]
        assert Path(file).read_bytes() == b"weights"
        labelled = here.config.split.labelled_list
        assert labelled is not None and Path(labelled).read_text() == "scene_00000\n"
    assert [text.split(" ")[0] for text in said].count("bringing") == 3
    with on_this_node(task, pytest.fail) as again:
        assert again == here


def test_another_content_in_its_place_is_not_used(task: RunTask, tmp_path: Path) -> None:
    task = stored(everywhere(task, tmp_path))
    (tmp_path / "launcher/w.safetensors").write_bytes(b"other")
    manifest = Path(task.prepared_folder) / "manifest.json"
    manifest.write_text(manifest.read_text().replace("scenes", "other"))
    for one in task.inputs:
        assert (in_place(one) is None) == (one.role != "split.labelled_list")
    with on_this_node(task, lambda text: None) as here:
        assert here.prepared_path.is_relative_to(tmp_path / "node")


def test_what_is_nowhere_is_told(task: RunTask) -> None:
    task = with_inputs(task, InputFinder().inputs_of(task))
    shutil.rmtree(task.prepared_folder)
    with (
        pytest.raises(DataError, match=rf"prepared: scenes-{task.data_hash} is neither on this"),
        on_this_node(task, pytest.fail),
    ):
        raise AssertionError("there was nothing")


def test_a_run_trains_from_an_object_store_without_the_launchers_folder(
    task: RunTask, s3_uri: str
) -> None:
    task = stored(dataclasses.replace(task, storage=s3_uri))
    shutil.rmtree(task.prepared_folder)
    assert execute(task, WorkerContext(writer="launch-1"), FakeTrainer) == "done"
    run = RunFolder.of(s3_uri, "run-1")
    assert run.task() == task  # what is recorded names the launcher's paths and the content
    log = (run.folder.read("log.txt") or b"").decode()
    assert f"bringing scenes-{task.data_hash}" in log
    assert f"scenes-{task.data_hash} is on this node" in log


def test_a_run_brings_its_images_and_trains_while_the_storage_is_away_now_and_then(
    task: RunTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = stored(task)
    shutil.rmtree(task.prepared_folder)
    monkeypatch.setattr(outages, "FIRST_PAUSE_S", 0.0)
    failed = set[tuple[str, str, str]]()

    def first_failing(what: str) -> Callable[..., Any]:
        work = getattr(Folder, what)

        def flaky(self: Folder, name: str, *rest: Any) -> Any:
            # Every try to claim makes another file, which would fail for the first time again.
            if self.name != "claims" and (what, self.path, name) not in failed:
                failed.add((what, self.path, name))
                raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
            return work(self, name, *rest)

        return flaky

    for what in ("read", "write", "delete"):
        monkeypatch.setattr(Folder, what, first_failing(what))
    assert execute(task, WorkerContext(writer="launch-1"), FakeTrainer) == "done"
    assert {("read", "rml-input.json"), ("read", "log.txt"), ("write", "log.txt")} <= {
        (what, name) for what, _, name in failed
    }


def test_a_task_travels_with_its_inputs(task: RunTask) -> None:
    task = with_inputs(task, InputFinder().inputs_of(task))
    assert RUN_TASK.decode(RUN_TASK.encode(task), "task") == task
    text = json.loads(RUN_TASK.encode(task))
    del text["inputs"]  # of an earlier version
    assert RUN_TASK.decode(json.dumps(text), "task").inputs == ()
