"""A cluster of several nodes whose folders differ: data and code reach all of them, and those that
join or leave during a launch are used or done without."""

import dataclasses
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ray import cloudpickle
from ray.util.placement_group import placement_group

import tests.support.platform.fake_trainer
from rml_platform.launch.claiming import new_launch_id
from rml_platform.launch.on_ray.fleet.readiness import Readiness
from rml_platform.launch.on_ray.fleet.shipment import pack
from rml_platform.launch.output_layout import OutputLayout
from rml_platform.launch.session.ray_session import ray_session
from rml_platform.launch.sizing import task_of
from rml_platform.planning.plan import plan_run
from rml_platform.plugins import load_plugin
from rml_platform.run.faults.lease import lease
from rml_platform.run.run_folder import RunFolder
from rml_platform.study.schema import load_run_config
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.errors import ConfigError
from tests.support.platform.clusters.local_cluster import LocalCluster, local_cluster
from tests.support.platform.documented_plugins import RUN, write_plugins
from tests.support.platform.fake_trainer import GOOD, SLOW, FakeTrainer
from tests.support.platform.object_store import s3_endpoint as s3_endpoint
from tests.support.platform.object_store import s3_uri as s3_uri
from tests.support.platform.plugins import no_plugin_stays
from tests.support.platform.studies import SMALLEST, write_study
from tests.support.platform.tasks import fake_config, task_for

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]
LOOKS_AT_A_JOB = 1200
"""As often a job of the cluster is looked at, five times a second, until its first run trains or
it ends: on a busy machine Ray can lose one without a word."""

HEAD = """\
name: growing
execution: direct
resources: {labels: {zone: growing}}
"""
REST = """\
  schedule: {warm_up_steps: 1000000, stage_steps: []}
  runtime: {device: cpu, log_every_steps: 10, checkpoint_every_steps: 50, num_read_ahead: 0}
seeds: [0, 1]
"""
STUDY = HEAD + SMALLEST + REST


@pytest.fixture(scope="module")
def caches(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The cache folder of each node."""
    return {name: tmp_path_factory.mktemp(name) / "cache" for name in ("a", "b")}


@pytest.fixture(scope="module")
def cluster(caches: dict[str, Path], s3_endpoint: str) -> Iterator[LocalCluster]:
    cloudpickle.register_pickle_by_value(tests.support.platform.fake_trainer)
    with local_cluster() as cluster:
        for name, folder in caches.items():
            keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
            environment = {"RML_CACHE": str(folder), **keys}
            cluster.add(environment=environment, labels={"zone": name})
        yield cluster
    cloudpickle.unregister_pickle_by_value(tests.support.platform.fake_trainer)


def test_each_node_brings_the_images_once_from_an_object_store(
    cluster: LocalCluster,
    caches: dict[str, Path],
    s3_uri: str,
    tiny_data: PreparedData,
    tmp_path: Path,
) -> None:
    from rml_platform.launch.on_ray.sweep import sweep

    data = PreparedData.open(Path(shutil.copytree(tiny_data.folder, tmp_path / "launcher")))
    names = [f"run-{number}" for number in range(2)]
    tasks = [task_for(fake_config(SLOW), data, tmp_path, name, storage=s3_uri) for name in names]
    with ray_session(cluster.address, with_train=False), lease(s3_uri, tasks[0].launch_id):
        readiness = Readiness(tasks, lambda text: None)
        readiness.make()
        # From here on the images are nowhere but in the storage.
        shutil.rmtree(tmp_path / "launcher")
        assert sweep(readiness.tasks, trainer_class=FakeTrainer) == {}
    runs = [RunFolder.of(s3_uri, name) for name in names]
    records = [run.record() for run in runs]
    assert [(name, record.state) for name, record in zip(names, records, strict=True)] == [
        (name, "done") for name in names
    ], [record.failure for record in records]
    for folder in caches.values():
        assert [p.name for p in folder.iterdir() if p.is_dir()] == [f"scenes-{data.content_hash}"]
    logs = [(run.folder.read("log.txt") or b"").decode() for run in runs]
    assert sum("is on this node" in log for log in logs) == 2
    assert len({record.heartbeat.node for record in records if record.heartbeat}) == 2


def test_a_run_keeps_off_a_node_only_where_another_can_take_it(
    cluster: LocalCluster, tiny_data: PreparedData, tmp_path: Path
) -> None:
    from rml_platform.launch.on_ray.fleet.room import nodes_now
    from rml_platform.launch.on_ray.nodes import free_by_node, places
    from rml_platform.launch.on_ray.sweep import sweep

    task = task_for(fake_config(GOOD), tiny_data, tmp_path, "run")
    with ray_session(cluster.address, with_train=False):
        (node,) = [one.id for one in nodes_now() if one.labels.get("zone") == "a"]
        task = dataclasses.replace(task, avoid=(node,))
        assert places(task).kept_out == {node}
        only = dataclasses.replace(task, labels=(("zone", "a"),))
        assert places(only).kept_out == frozenset()
        assert places(only).open == {node}
        assert set(free_by_node()) >= {node}
        assert sweep([only], trainer_class=FakeTrainer) == {}
    record = RunFolder.of(str(tmp_path), "run").record()
    assert record.state == "done", record.failure
    assert record.heartbeat is not None
    assert record.heartbeat.node == node


def test_a_run_that_waits_for_a_node_that_dies_takes_one_that_was_kept_out(
    cluster: LocalCluster, tiny_data: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rml_platform.launch.on_ray import watch
    from rml_platform.launch.on_ray.sweep import sweep

    monkeypatch.setattr(watch, "WAITING_AFTER_S", 2.0)
    there = {name: cluster.add(labels={"zone": "pair"}) for name in ("bad", "good")}
    labels = (("zone", "pair"),)
    avoid = (there["bad"].node_id,)
    notes: list[str] = []
    with ray_session(cluster.address, with_train=False):
        only = {"ray.io/node-id": there["good"].node_id}
        taken = placement_group([{"CPU": 1}], bundle_label_selector=[only])
        assert taken.wait(30)
        task = task_for(fake_config(GOOD), tiny_data, tmp_path, "run")
        task = dataclasses.replace(task, avoid=avoid, labels=labels)

        def on_note(text: str) -> None:
            notes.append(text)
            if text.startswith("waiting for") and len(notes) == 1:
                cluster.kill(there["good"])

        assert sweep([task], trainer_class=FakeTrainer, on_note=on_note) == {}
    cluster.kill(there["bad"])
    record = RunFolder.of(str(tmp_path), "run").record()
    assert record.state == "done", record.failure
    assert record.heartbeat is not None
    assert record.heartbeat.node == there["bad"].node_id
    assert notes[0].startswith("waiting for 1 × 1 CPU, 0 free"), notes
    assert any("it may now be on one that was kept out" in note for note in notes), notes


@pytest.mark.long
def test_a_node_with_other_code_is_refused_and_gets_this_one_when_shipped(
    cluster: LocalCluster, tiny_data: PreparedData, tmp_path: Path
) -> None:
    from rml_platform.launch.on_ray.sweep import sweep

    (tmp_path / "other").mkdir()
    pack(tmp_path / "other", ())
    with (tmp_path / "other" / "rml_trainers" / "errors.py").open("a") as file:
        file.write("\n# another version\n")
    (tmp_path / "run.yaml").write_text(RUN.replace("labelled: 2", "labelled: 4"))
    node = cluster.add(
        num_cpus=2,
        resources={"accelerator_type:A100": 1},
        environment={"PYTHONPATH": str(tmp_path / "other")},
        labels={"zone": "other"},
    )
    layout = OutputLayout(root=tmp_path, storage=str(tmp_path))
    with no_plugin_stays():
        plugins = [load_plugin(str(file)) for file in write_plugins(tmp_path)]
        config = load_run_config(tmp_path / "run.yaml")
        run = plan_run(config, data_root=None, cache_root=tmp_path / "cache", on_prepare=None)
        task = task_of(run, "outside", layout, None, new_launch_id())
        task = dataclasses.replace(
            task,
            num_workers=2,
            accelerator="A100",
            labels=(("zone", "other"),),
            placement="one_node",
        )
        with lease(task.storage, task.launch_id):
            with ray_session(cluster.address, with_train=False):
                readiness = Readiness([task], lambda text: None)
                with pytest.raises(ConfigError, match=r"1 of 4 nodes .* has rml .*, content"):
                    readiness.make()
            with ray_session(cluster.address, with_train=False, ship=plugins):
                for plugin in plugins:
                    Path(plugin.location).unlink()
                readiness = Readiness([task], lambda text: None, is_shipped=True)
                readiness.make()
                assert sweep(readiness.tasks) == {}
    cluster.kill(node)
    record = RunFolder.of(layout.storage, run.run_id).record()
    assert record.result is not None, record.failure
    assert record.result.num_workers == 2
    assert "worst_iou" in record.result.evaluations[0].scores


def nodes_of_runs(folder: Path) -> dict[str, tuple[str, int]]:
    """Node and number of the attempt of each run that is running at the moment."""
    records = {
        path.name: RunFolder.of(str(folder), path.name).record() for path in folder.glob("runs/*")
    }
    return {
        run_id: (record.heartbeat.node, record.heartbeat.launch_attempt)
        for run_id, record in records.items()
        if record.heartbeat is not None and record.state == "running"
    }


@pytest.mark.long
def test_a_launch_uses_a_node_that_joins_and_survives_one_that_goes(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    first = cluster.add(labels={"zone": "growing"})
    write_study(tmp_path, STUDY)
    rml = str(Path(sys.executable).with_name("rml"))
    launch = subprocess.Popen(
        [rml, "launch", "study.yaml", "--out", "out", "--address", cluster.address],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )

    def wait_until(is_so: Callable[[dict[str, tuple[str, int]]], bool]) -> None:
        while not is_so(nodes_of_runs(tmp_path / "out")):
            assert launch.poll() is None, launch.communicate()[0]
            time.sleep(0.2)

    wait_until(lambda runs: len(runs) == 1)
    second = cluster.add(num_cpus=2, labels={"zone": "growing"})
    wait_until(lambda runs: {node for node, _ in runs.values()} == {first.node_id, second.node_id})
    cluster.kill(first)
    wait_until(lambda runs: sorted(runs.values()) == [(second.node_id, 1), (second.node_id, 2)])
    launch.terminate()
    said, _ = launch.communicate()
    cluster.kill(second)
    assert launch.returncode == 143, said
    assert "the cluster has grown: it holds 3 runs at once now" in said, said
    assert "is tried again after step" in said, said


@pytest.mark.long
def test_a_launch_can_be_a_job_of_the_cluster(cluster: LocalCluster, tmp_path: Path) -> None:
    """`ray job submit -- rml launch …`: Ray tells the job where the cluster is, and stops it as
    every scheduler does."""
    from ray.job_submission import JobSubmissionClient

    write_study(tmp_path, STUDY.replace("zone: growing", "zone: a"))
    out = tmp_path / "out"
    rml = Path(sys.executable).with_name("rml")
    job = cluster.submit(f"{rml} launch {tmp_path / 'study.yaml'} --out {out}")
    jobs = JobSubmissionClient(cluster.jobs)

    def wait_until(is_so: Callable[[], bool]) -> None:
        for _ in range(LOOKS_AT_A_JOB):
            if is_so():
                return
            time.sleep(0.2)
        pytest.fail(f"{jobs.get_job_info(job)}: {jobs.get_job_logs(job)}")

    def has_ended() -> bool:
        return bool(jobs.get_job_status(job).is_terminal())

    wait_until(lambda: bool(nodes_of_runs(out)) or has_ended())
    runs = nodes_of_runs(out)
    assert not has_ended(), jobs.get_job_logs(job)
    assert [bool(node) for node, _ in runs.values()] == [True]
    jobs.stop_job(job)
    wait_until(has_ended)
    assert "stopped; 2 left" in jobs.get_job_logs(job)
