"""Runs on a real local Ray, in the Tune actor itself and in Ray Train groups: failed, killed,
resumed, given up."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from ray import cloudpickle

import tests.support.platform.fake_trainer
from rml_platform.launch.on_ray import watch
from rml_platform.launch.session.ray_session import ray_session
from rml_platform.run.attempt import WorkerContext
from rml_platform.run.checkpoints import CheckpointStore
from rml_platform.run.execute import execute
from rml_platform.run.metric_log import pieces
from rml_platform.run.run_folder import RunFolder, RunRecord
from rml_platform.study.retry_config import RetryConfig
from rml_trainers.data.prepared.cache import PreparedData
from tests.support.platform.fake_trainer import (
    GOOD,
    HANGS_ONCE,
    KILLED_ALWAYS,
    KILLED_ONCE,
    NON_FINITE,
    RANK_1_FAILS,
    FakeTrainer,
)
from tests.support.platform.tasks import fake_config, task_for
from tests.support.tiny import tiny_config

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]
FAULTS = {"non-finite": NON_FINITE, "killed-once": KILLED_ONCE, "killed-always": KILLED_ALWAYS}


@pytest.fixture(scope="module", autouse=True)
def ray() -> Iterator[None]:
    cloudpickle.register_pickle_by_value(
        tests.support.platform.fake_trainer
    )  # workers cannot import the tests
    with ray_session(
        None, with_train=True, num_cpus=4
    ):  # more than there may be: starting is mostly waiting
        yield
    cloudpickle.unregister_pickle_by_value(tests.support.platform.fake_trainer)


def carried_out(
    faults: dict[str, int],
    data: PreparedData,
    folder: Path,
    *,
    rules: RetryConfig | None = None,
    max_concurrent: int = 4,
    **changes: object,
) -> tuple[dict[str, RunRecord], dict[str, str]]:
    """Records of the runs after a sweep over them, and what Ray says of those it lost."""
    from rml_platform.launch.on_ray.sweep import sweep

    tasks = [
        task_for(fake_config(fault), data, folder, name, **changes)
        for name, fault in faults.items()
    ]
    lost = sweep(tasks, max_concurrent=max_concurrent, rules=rules, trainer_class=FakeTrainer)
    return {name: RunFolder.of(str(folder), name).record() for name in faults}, lost


def losses(folder: Path, run_id: str) -> list[int]:
    found = pieces(RunFolder.of(str(folder), run_id).folder, -1, float("inf"), pytest.fail)
    return [row.step for _, rows in found for row in rows if row.key == "train/loss"]


def message(record: RunRecord) -> str:
    assert record.failure is not None
    return f"{record.failure.kind}: {record.failure.message}"


def attempts(record: RunRecord) -> int:
    assert record.heartbeat is not None
    return record.heartbeat.attempt


@pytest.mark.parametrize("execution", ["direct", pytest.param("train", marks=pytest.mark.long)])
def test_lost_processes_are_replaced_and_failed_runs_are_not_tried_again(
    execution: str, tiny_data: PreparedData, tmp_path: Path
) -> None:
    rules = RetryConfig(lost=1)
    records, lost = carried_out(FAULTS, tiny_data, tmp_path, execution=execution, rules=rules)
    states = {name: (record.state, attempts(record)) for name, record in records.items()}
    assert states == {
        "non-finite": ("failed", 1),
        "killed-once": ("done", 2),
        "killed-always": ("cut_off", 2),
    }
    assert message(records["non-finite"]) == "NonFiniteLossError: loss is nan at step 3"
    assert list(lost) == ["killed-always"]
    assert "killed or died 2 times in this launch" in lost["killed-always"].splitlines()[-1]
    assert losses(tmp_path, "killed-once") == [1, 2, 3, 4, 5]
    store = CheckpointStore(RunFolder.of(str(tmp_path), "killed-once").folder, "")
    assert [checkpoint.step for checkpoint in store.stored()] == [4, 5]


def test_two_workers_fail_together_or_resume_together(
    tiny_data: PreparedData, tmp_path: Path
) -> None:
    faults = {"rank-1": RANK_1_FAILS, "killed-once": KILLED_ONCE}
    records, lost = carried_out(faults, tiny_data, tmp_path, execution="train", num_workers=2)
    assert lost == {}
    assert message(records["rank-1"]) == "ValueError: rank 1 cannot"
    assert attempts(records["rank-1"]) == 1
    assert (records["killed-once"].state, attempts(records["killed-once"])) == ("done", 2)
    assert losses(tmp_path, "killed-once") == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(("execution", "num_workers"), [("train", 2), ("direct", 1)])
def test_processes_take_run_after_run_until_one_fails(
    execution: str, num_workers: int, tiny_data: PreparedData, tmp_path: Path
) -> None:
    faults = {"first": GOOD, "second": GOOD, "bad": NON_FINITE, "after": GOOD}
    records, lost = carried_out(
        faults,
        tiny_data,
        tmp_path,
        execution=execution,
        num_workers=num_workers,
        max_concurrent=1,
    )
    assert lost == {}
    states = {name: record.state for name, record in records.items()}
    assert states == {"first": "done", "second": "done", "bad": "failed", "after": "done"}
    workers = [record.heartbeat.worker for record in records.values() if record.heartbeat]
    assert workers[0] == workers[1] == workers[2]
    assert workers[2] != workers[3]
    for name in ("first", "second", "after"):
        assert losses(tmp_path, name) == [1, 2, 3, 4, 5]


@pytest.mark.long
def test_a_run_whose_group_notices_nothing_is_taken_from_it(
    tiny_data: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_vain: list[int] = []
    monkeypatch.setattr(watch, "kill", lambda worker, node: in_vain.append(worker.pid))
    rules = RetryConfig(hang="unlimited", hang_factor=2, hang_at_least_s=10)
    records, lost = carried_out(
        {"run": HANGS_ONCE}, tiny_data, tmp_path, execution="train", rules=rules
    )
    assert lost == {}
    assert records["run"].state == "done"
    assert attempts(records["run"]) > 1
    assert in_vain[0] == in_vain[1]
    assert losses(tmp_path, "run") == [1, 2, 3, 4, 5]


def test_ray_train_computes_what_this_process_computes(
    tiny_data: PreparedData, tmp_path: Path
) -> None:
    from rml_platform.launch.on_ray.sweep import sweep

    task = task_for(tiny_config("iml"), tiny_data, tmp_path / "train", "run", execution="train")
    assert sweep([task], max_concurrent=1) == {}
    assert (
        execute(
            task_for(tiny_config("iml"), tiny_data, tmp_path / "here", "run"),
            WorkerContext(writer="here"),
        )
        == "done"
    )
    results = [RunFolder.of(str(tmp_path / place), "run").result() for place in ("train", "here")]
    scores = [
        (e.miou, e.confusion.tolist()) for result in results if result for e in result.evaluations
    ]
    assert len(scores) == 2
    assert scores[0] == scores[1]
    pictures = [p.name for p in (tmp_path / "train" / "runs" / "run" / "predictions").iterdir()]
    assert len(pictures) == 3
