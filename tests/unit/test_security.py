"""What is read may come from anybody: nothing in it is executed, and no name leads elsewhere. What
is secret is written nowhere."""

import ast
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rml_dashboards.contract.study_plan import plan_file
from rml_dashboards.errors import DashboardError
from rml_dashboards.records.run_folder_reader import RunFolderReader
from rml_platform.launch.output_layout import OutputLayout
from rml_platform.planning.plan_file.find_plan import find_plan
from rml_platform.run.codec import DamagedFileError
from rml_platform.run.run_folder import RunFolder
from rml_platform.run.storage import Folder
from rml_platform.run.task import RUN_TASK
from rml_platform.tracking.mlflow_store import MlflowStore
from rml_platform.tracking.publisher import Publisher
from rml_platform.tracking.tracker import TrackingError
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.errors import ConfigError
from tests.support.platform.command import rml
from tests.support.platform.fake_trainer import GOOD
from tests.support.platform.plan_on_disk import PlanOnDisk
from tests.support.platform.studies import write_study
from tests.support.platform.tasks import fake_config, task_for
from tests.support.platform.tracked_run import MlflowScene
from tests.support.recorded import Store

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    file
    for folder in ("platform", "trainers", "dashboards", "tests/benchmarks", "docs")
    for file in (ROOT / folder).rglob("*.py")
)
EXECUTES = {
    "pickle",
    "cPickle",
    "_pickle",
    "dill",
    "cloudpickle",
    "ray.cloudpickle",
    "joblib",
    "shelve",
    "marshal",
}
"""Modules that run what they read."""
ERROR_ONLY = "UnpicklingError"
"""What may be used of pickle: the error that torch raises where it refuses one."""
CALLS = {
    "torch.jit.load",
    "pd.read_pickle",
    "pandas.read_pickle",
    "yaml.load",
    "yaml.unsafe_load",
    "yaml.full_load",
    "os.system",
    "os.popen",
    "eval",
    "exec",
}


def dangers(tree: ast.Module) -> Iterator[str]:
    """Everything in a file that executes what it reads."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in EXECUTES)
        elif isinstance(node, ast.ImportFrom) and node.module in EXECUTES:
            yield node.module
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            if name in CALLS or (name == "torch.load" and given.get("weights_only") != "True"):
                yield name
            yield from (key for key in ("allow_pickle", "shell") if given.get(key) == "True")


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_nothing_executes_what_it_reads(file: Path) -> None:
    text = file.read_text()
    tree = ast.parse(text)
    found = list(dangers(tree))
    if found == ["pickle"]:
        used = {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "pickle"
        }
        assert used == {ERROR_ONLY}
        found = []
    assert found == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import pickle", ["pickle"]),
        ("from joblib import load", ["joblib"]),
        ("torch.load(path,\n map_location='cpu')", ["torch.load"]),
        ("torch.load(path, weights_only=True)", []),
        ("np.load(path, allow_pickle=True)", ["allow_pickle"]),
        ("np.load(path)", []),
        (f"yaml.{'load'}(text, Loader=L)", ["yaml.load"]),  # no call that a search would find here
        ("subprocess.run(text, shell=True)", ["shell"]),
        ("eval(text)", ["eval"]),
    ],
)
def test_the_guard_sees_what_it_is_there_for(text: str, found: list[str]) -> None:
    assert list(dangers(ast.parse(text))) == found


LEADS_AWAY = ("../x", "a/../../x", "/etc/x", "..", ".", "", "a//b", "a\0b")


@pytest.mark.parametrize("name", LEADS_AWAY)
def test_no_name_leads_out_of_a_folder(name: str, tmp_path: Path) -> None:
    folder = Folder.open(tmp_path / "inside")
    (tmp_path / "x").write_text("secret")
    for use in (folder.read, folder.child, folder.delete, lambda name: folder.write(name, b"")):
        with pytest.raises(ConfigError, match="names no file or folder below"):
            use(name)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


HOSTILE_STUDIES = ("../../x", "a/b", "", "..", "x\n", "-\0", "a b", "`x`")


@pytest.mark.parametrize("study", HOSTILE_STUDIES)
def test_a_task_of_a_hostile_study_is_damaged(
    study: str, tiny_data: PreparedData, tmp_path: Path
) -> None:
    task = task_for(fake_config(GOOD), tiny_data, tmp_path, "run-1")
    run = RunFolder.of(str(tmp_path), "run-1")
    run.folder.write("task.json", RUN_TASK.encode(replace(task, study=study)))
    with pytest.raises(DamagedFileError, match="cannot be the name of a study"):
        run.task()
    run.folder.write("task.json", RUN_TASK.encode(replace(task, run_id="../run-1")))
    with pytest.raises(DamagedFileError, match="cannot be the id of a run"):
        run.task()


@pytest.mark.parametrize("study", HOSTILE_STUDIES)
def test_no_experiment_keeps_its_artifacts_elsewhere(
    study: str, store: Store, tmp_path: Path
) -> None:
    tracker = MlflowStore(store.uri, tmp_path / "mlartifacts")
    with pytest.raises(TrackingError, match="cannot be an experiment"):
        tracker.create(study, "run-1")
    assert [e.name for e in store.client.search_experiments()] == ["Default"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda plan: plan.update(name="../../x"), "cannot be the name of a study"),
        (lambda plan: plan["runs"][0].update(run_id="../../x"), "cannot be the id of a run"),
    ],
)
def test_a_hostile_plan_is_refused(change: Any, said: str, tmp_path: Path) -> None:
    there = PlanOnDisk.make(tmp_path)
    there.write()
    file = there.out / plan_file("own", None)
    plan = json.loads(file.read_text())
    change(plan)
    file.write_text(json.dumps(plan))
    with pytest.raises(ConfigError, match=said):
        find_plan("own", out=there.out)


@pytest.mark.parametrize("run_id", ["../../x", "/etc", "..", "a/b"])
def test_records_are_read_below_the_runs_only(run_id: str, tmp_path: Path) -> None:
    with pytest.raises(DashboardError, match="is not the id of a run"):
        RunFolderReader(str(tmp_path)).records([run_id])


DEEP = "[" * 100_000


@pytest.mark.parametrize("name", ["heartbeat.json", "result.json", "task.json"])
def test_deeply_nested_json_is_damage_of_one_run(
    name: str, tiny_data: PreparedData, tmp_path: Path, store: Store
) -> None:
    scene = MlflowScene(tiny_data, tmp_path, store)
    scene.train(scene.task)
    scene.train(replace(scene.task, run_id="run-2"))
    (tmp_path / "runs" / "run-1" / name).write_text(DEEP)
    records = RunFolderReader(str(tmp_path)).records()
    assert "run-2" in list(records.runs["run_id"])
    assert any(f"{name} is damaged" in warning for warning in records.warnings)
    run = RunFolder.of(str(tmp_path), "run-2")
    assert scene.publisher().sync([scene.run, run], closing=True) in ([], ["run-1"])
    assert scene.steps_of("run-2") == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("config_json", [DEEP, "{}", "no json", "[]", '{"split": 1}'])
def test_a_hostile_configuration_holds_up_its_own_run_only(
    config_json: str, tiny_data: PreparedData, tmp_path: Path, store: Store
) -> None:
    scene = MlflowScene(tiny_data, tmp_path, store)
    scene.train(scene.task)
    task = RUN_TASK.encode(replace(scene.task, config_json=config_json))
    scene.run.folder.write("task.json", task)
    scene.train(replace(scene.task, run_id="run-2"))
    publisher: Publisher = scene.publisher()
    run = RunFolder.of(str(tmp_path), "run-2")
    assert publisher.sync([scene.run, run], closing=True) == ["run-1"]
    assert "task.json is damaged: config_json" in scene.notes[0]
    assert len(scene.runs()) == 1


SECRET_STORAGES = (
    "s3://AKIA:s3/cr@et@bucket/rml",
    "s3://bucket/rml?access_key=A&secret_key=s3/cr@et",
)


@pytest.mark.parametrize("storage", SECRET_STORAGES)
def test_a_storage_with_a_password_is_refused_before_it_is_written_anywhere(
    storage: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match="AWS_SECRET_ACCESS_KEY") as caught:
        OutputLayout(root=tmp_path, storage=storage)
    assert "cr@et" not in str(caught.value)
    study = write_study(tmp_path)
    for command in ("launch", "run", "plan", "status", "cancel"):
        with pytest.raises(ConfigError) as refused:
            rml(command, study, "--out", tmp_path / "out", "--storage", storage)
        assert "cr@et" not in str(refused.value)
    written = [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
    assert not any(b"cr@et" in content for content in written)
    assert "cr@et" not in "".join(capfd.readouterr())


def test_a_storage_without_a_password_is_not_taken_for_one(tmp_path: Path) -> None:
    for storage in ("s3://bucket/rml", "hdfs://namenode:8020/user/a@b", "gs://b/x:y@z", "out"):
        assert OutputLayout(root=tmp_path, storage=storage).storage == storage
