"""Carrying out one run: resumed, finished, failed, cancelled; each written down so that the next
launch knows."""

import errno
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from ray.exceptions import ActorDiedError

from rml_platform.plugins import load_plugin
from rml_platform.run import reporters
from rml_platform.run.attempt import WorkerContext
from rml_platform.run.checkpoints import CheckpointStore
from rml_platform.run.execute import execute
from rml_platform.run.metric_log import pieces
from rml_platform.run.reporters import RunReporter
from rml_platform.run.run_folder import Failure, RunFolder
from rml_platform.run.storage import Folder
from rml_platform.run.task import RunTask
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.training.reporting import Progress
from tests.support.platform.fake_trainer import GOOD, NON_FINITE, FakeTrainer
from tests.support.platform.object_store import s3_endpoint as s3_endpoint
from tests.support.platform.object_store import s3_uri as s3_uri
from tests.support.platform.plugins import no_plugin_stays
from tests.support.platform.tasks import NUM_STEPS, fake_config, task_for

CONTEXT = WorkerContext(writer="launch-1")


@pytest.fixture
def task(tiny_data: PreparedData, tmp_path: Path) -> RunTask:
    return task_for(fake_config(GOOD), tiny_data, tmp_path, "run-1")


def failing(task: RunTask) -> RunTask:
    return task_for(
        fake_config(NON_FINITE),
        PreparedData.open(Path(task.prepared_folder)),
        Path(task.storage),
        "run-1",
    )


def folder_of(task: RunTask) -> RunFolder:
    return RunFolder.of(task.storage, task.run_id)


def steps_measured(task: RunTask) -> list[int]:
    found = pieces(folder_of(task).folder, -1, float("inf"), pytest.fail)
    return [row.step for _, rows in found for row in rows if row.key == "train/loss"]


def test_a_run_leaves_result_metrics_and_two_checkpoints(task: RunTask) -> None:
    assert execute(task, CONTEXT, FakeTrainer) == "done"
    record = folder_of(task).record()
    assert record.result is not None
    assert record.result.evaluations[0].miou == NUM_STEPS / 100
    assert (record.result.steps, record.result.attempt, record.result.device) == (
        NUM_STEPS,
        1,
        "cpu",
    )
    assert steps_measured(task) == [1, 2, 3, 4, 5]
    assert [c.step for c in CheckpointStore(folder_of(task).folder, "").stored()] == [4, 5]
    assert not list(Path(task.storage).rglob("work-*"))


def test_a_finished_run_is_left_alone(task: RunTask) -> None:
    execute(task, CONTEXT, FakeTrainer)
    before = folder_of(task).heartbeat()
    assert (
        execute(replace(task, launch_id="launch-2"), WorkerContext(writer="launch-2"), FakeTrainer)
        == "done"
    )
    assert folder_of(task).heartbeat() == before


@pytest.mark.parametrize("content", [b"", b"[]", b'{"evaluations": [{"pro'])
def test_a_damaged_result_is_made_again_from_the_newest_checkpoint(
    task: RunTask, content: bytes
) -> None:
    execute(task, CONTEXT, FakeTrainer)
    run = folder_of(task)
    whole = run.result()
    run.folder.write("result.json", content)
    again = replace(task, launch_id="launch-2")
    assert execute(again, WorkerContext(writer="launch-2"), FakeTrainer) == "done"
    made = run.result()
    assert whole is not None and made is not None
    assert made.evaluations[0].miou == whole.evaluations[0].miou
    assert steps_measured(task) == [1, 2, 3, 4, 5]
    assert "result.json is damaged" in (run.folder.read("log.txt") or b"").decode()


def test_a_damaged_heartbeat_gives_no_number_of_an_attempt_out_twice(task: RunTask) -> None:
    execute(failing(task), CONTEXT, FakeTrainer)
    run = folder_of(task)
    run.folder.write("heartbeat.json", b'{"attempt": 1')
    again = replace(task, launch_id="launch-2")
    assert execute(again, WorkerContext(writer="launch-2"), FakeTrainer) == "done"
    made = run.result()
    assert made is not None
    assert made.attempt == 2
    assert steps_measured(task) == [1, 2, 3, 4, 5]


def test_a_failure_of_the_program_is_written_down(task: RunTask) -> None:
    bad = failing(task)
    assert execute(bad, CONTEXT, FakeTrainer) == "failed"
    failure = folder_of(bad).failure()
    assert failure is not None
    assert (failure.kind, failure.message, failure.attempt) == (
        "NonFiniteLossError",
        "loss is nan at step 3",
        1,
    )
    assert "fake_trainer.py" in failure.traceback


def test_a_new_launch_goes_on_with_a_failed_run_from_its_checkpoint(task: RunTask) -> None:
    execute(failing(task), CONTEXT, FakeTrainer)
    again = replace(task, launch_id="launch-2")
    assert execute(again, WorkerContext(writer="launch-2"), FakeTrainer) == "done"
    result = folder_of(again).result()
    assert result is not None
    assert result.attempt == 2
    assert steps_measured(again) == [1, 2, 3, 4, 5]
    assert folder_of(again).failure() is None


def test_micro_batches_reach_the_trainer_and_stay_with_the_run(task: RunTask) -> None:
    told: list[int] = []

    class Cut(FakeTrainer):
        def __init__(self, *parts: Any, micro_batches: int = 1, **rest: Any) -> None:
            told.append(micro_batches)
            super().__init__(*parts, **rest)

    class CutAndBad(Cut):
        def _fail(self) -> None:
            if self.step == 3:
                raise RuntimeError("cannot")

    assert execute(replace(task, micro_batches=4), CONTEXT, CutAndBad) == "failed"
    again = replace(task, launch_id="launch-2")
    assert execute(again, WorkerContext(writer="launch-2"), Cut) == "done"
    assert told == [4, 4]
    result = folder_of(task).result()
    assert result is not None
    assert result.micro_batches == 4


def test_a_cancelled_run_goes_on_when_launched_again(
    task: RunTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporters, "WRITE_EVERY_S", 0.01)

    class Cancelling(FakeTrainer):
        def _fail(self) -> None:
            if self.step == 3:
                folder_of(task).request_cancel()
                assert isinstance(self.reporter, RunReporter)
                while self.reporter._heart.stop_wish == "never":
                    self.reporter._heart.update(step=3)

    assert execute(task, CONTEXT, Cancelling) == "cancelled"
    assert folder_of(task).record().state == "cancelled"
    folder_of(task).folder.delete("cancel")
    assert (
        execute(replace(task, launch_id="launch-2"), WorkerContext(writer="launch-2"), FakeTrainer)
        == "done"
    )
    assert steps_measured(task) == [1, 2, 3, 4, 5]


def test_a_damaged_checkpoint_is_noted_and_the_one_before_resumed(task: RunTask) -> None:
    execute(failing(task), CONTEXT, FakeTrainer)
    (newest,) = (Path(task.storage) / "runs/run-1/checkpoints/launch-1").glob(
        "checkpoint_000000002_*"
    )
    content = (newest / "state.json").read_bytes()
    (newest / "state.json").write_bytes(content[: len(content) // 2])
    assert (
        execute(replace(task, launch_id="launch-2"), WorkerContext(writer="launch-2"), FakeTrainer)
        == "done"
    )
    assert (
        "checkpoint of step 2 is damaged"
        in (folder_of(task).folder.read("log.txt") or b"").decode()
    )
    assert steps_measured(task) == [1, 2, 3, 4, 5]


def test_a_full_disk_fails_the_run_and_keeps_the_checkpoint_before(
    task: RunTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Folder._store_file

    def full(self: Folder, file: Path, target: str, gives_up: bool) -> None:
        if "checkpoint_000000003" in target:
            raise OSError(errno.ENOSPC, "No space left on device")
        copy(self, file, target, gives_up)

    monkeypatch.setattr(Folder, "_store_file", full)
    assert execute(task, CONTEXT, FakeTrainer) == "failed"
    failure = folder_of(task).failure()
    assert failure is not None
    assert "No space left on device" in failure.message
    assert [c.step for c in CheckpointStore(folder_of(task).folder, "").stored()] == [1, 2]


def test_prepared_data_that_changed_since_the_plan_are_refused(task: RunTask) -> None:
    assert execute(replace(task, data_hash="other"), CONTEXT, FakeTrainer) == "failed"
    failure = folder_of(task).failure()
    assert failure is not None
    assert (failure.kind, "launch again" in failure.message) == ("ConfigError", True)


def test_one_of_several_workers_raises_after_writing_down_why(task: RunTask) -> None:
    context = WorkerContext(writer="launch-1", world_size=2)
    with pytest.raises(Exception, match="loss is nan"):
        execute(failing(task), context, FakeTrainer)
    assert folder_of(task).record().state == "failed"


@pytest.mark.parametrize(
    "collateral",
    [
        RuntimeError("[gloo/pair.cc:547] Connection closed by peer"),
        torch.distributed.DistNetworkError("failed to recv, got 0 bytes"),
        torch.distributed.DistStoreError("Timed out after 61 seconds waiting for clients."),
        ActorDiedError(),
    ],
)
def test_the_death_of_another_worker_is_not_a_failure_of_this_one(
    task: RunTask, collateral: Exception
) -> None:
    class Bereft(FakeTrainer):
        def _fail(self) -> None:
            if self.step == 3:
                raise collateral

    context = WorkerContext(writer="launch-1", world_size=2)
    with pytest.raises(type(collateral)):
        execute(task, context, Bereft)
    assert folder_of(task).failure() is None


def test_a_full_disk_is_the_nodes_only_where_the_storage_is_elsewhere(
    task: RunTask, s3_uri: str
) -> None:
    class Full(FakeTrainer):
        def _fail(self) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    kinds = dict[str, str]()
    for storage in (task.storage, s3_uri):
        own = replace(task, storage=storage)
        assert execute(own, CONTEXT, Full) == "failed"
        failure = folder_of(own).failure()
        assert failure is not None
        kinds[storage] = failure.kind
    assert kinds == {task.storage: "OSError", s3_uri: "NodeDiskError"}


def test_the_first_of_several_failures_is_the_reason(task: RunTask) -> None:
    class Second(FakeTrainer):
        def _fail(self) -> None:
            failure = Failure(
                kind="ValueError",
                message="first",
                traceback="",
                attempt=1,
                launch_id="launch-1",
                time=1.0,
            )
            folder_of(task).write_failure(failure)
            raise ValueError("second")

    with pytest.raises(ValueError, match="second"):
        execute(task, WorkerContext(writer="launch-1", world_size=2), Second)
    failure = folder_of(task).failure()
    assert failure is not None
    assert failure.message == "first"


def test_memory_is_given_back_whatever_became_of_the_run(
    task: RunTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    module = "rml_platform.run.execute"
    monkeypatch.setattr(f"{module}.release_memory", lambda: done.append("release"))
    monkeypatch.setattr(f"{module}.spare_what_is_loaded", done.append)
    assert execute(failing(task), CONTEXT, FakeTrainer) == "failed"
    before = ["before a run", "release"]
    assert done == before, "what a failed run left is not to be kept for good"
    assert execute(replace(task, launch_id="launch-2"), CONTEXT, FakeTrainer) == "done"
    assert done[2:] == [*before, "after a run"]


def test_every_worker_does_what_rank_0_found_settled(task: RunTask) -> None:
    context = WorkerContext(writer="launch-1", rank=1, world_size=2, agree=lambda value: "failed")
    assert execute(task, context, FakeTrainer) == "failed"
    assert not folder_of(task).folder.exists()


def test_every_worker_resumes_from_rank_0s_checkpoint(task: RunTask) -> None:
    execute(failing(task), CONTEXT, FakeTrainer)
    asked = list[object]()
    answers = iter([None, "launch-1/checkpoint_000000001_001"])

    def agree(value: object) -> object:
        asked.append(value)
        return next(answers, None)

    context = WorkerContext(
        writer="launch-2",
        rank=1,
        world_size=2,
        agree=agree,
    )

    class OnRank1(FakeTrainer):
        rank = staticmethod(lambda: 1)

        def _checkpoint(self) -> Path:
            raise AssertionError("only rank 0 writes")

    execute(replace(task, launch_id="launch-2"), context, OnRank1)
    assert len(asked) == 2 + 4  # what to do, where to go on, and each of the steps that are stored


def test_a_reporter_error_on_the_way_is_a_failure_of_the_run(
    task: RunTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: RunReporter, progress: Progress, scalars: dict[str, float]) -> None:
        raise KeyError("lost")

    monkeypatch.setattr(RunReporter, "on_step", broken)
    assert execute(task, CONTEXT, FakeTrainer) == "failed"


@pytest.mark.parametrize("is_there", [True, False])
def test_a_plug_in_that_is_not_what_was_planned_is_a_failure_of_the_run(
    task: RunTask, tmp_path: Path, is_there: bool
) -> None:
    path = tmp_path / "my_networks.py"
    path.write_text(
        "from dataclasses import replace\nfrom rml_trainers.networks import NETWORKS\n"
        "NETWORKS['wide'] = replace(NETWORKS['mlp'])\n"
    )
    with no_plugin_stays():
        planned = replace(load_plugin(str(path)), hash="0" * 12)
    if not is_there:
        path.unlink()
    with no_plugin_stays():
        outside = replace(task, plugins=(planned,))
        assert execute(outside, CONTEXT, FakeTrainer) == "failed"
    failure = folder_of(task).failure()
    assert failure is not None
    assert failure.kind == "ConfigError"
    assert ("it was changed meanwhile" if is_there else "no such file") in failure.message
    assert folder_of(task).task() == outside
