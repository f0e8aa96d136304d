"""A run that takes over the end of another run's stage ends with the same bits as one that trains
all its steps."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient

from rml_dashboards.contract.metric_keys import to_mlflow_key
from rml_platform.run.attempt import WorkerContext
from rml_platform.run.execute import execute
from rml_platform.run.metric_log import pieces
from rml_platform.run.run_folder import RunFolder
from rml_platform.run.shared_stages import FOLDER, SharedStages, mark_shared
from rml_platform.run.task import RunTask
from rml_platform.tracking.mlflow_store import MlflowStore
from rml_platform.tracking.mlflow_tracker import MlflowTracker
from rml_platform.tracking.publisher import Publisher
from rml_trainers.config import EvaluationConfig, RunConfig, ScheduleConfig
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.data.splitting.splits import make_split
from rml_trainers.errors import CheckpointError
from rml_trainers.methods import METHODS
from rml_trainers.training.reporting import MemoryReporter
from rml_trainers.training.trainer import Trainer
from tests.support.platform.tasks import task_for
from tests.support.tiny import tiny_config

pytestmark = pytest.mark.usefixtures("single_thread")
SEMI_SUPERVISED = [name for name in METHODS if name != "supervised"]
MAKER = {1: "mean_teacher", 2: "iml"}
"""Method whose warm-up the others with as many students take over."""


def result(folder: Path, run_id: str) -> tuple[list[object], dict[str, torch.Tensor]]:
    """Scores and final weights of a finished run."""
    from safetensors.torch import load_file

    run = RunFolder.of(str(folder), run_id)
    done = run.result()
    assert done is not None
    (weights,) = (folder / "runs" / run_id / "checkpoints").rglob(
        "checkpoint_000000012_*/teachers.safetensors"
    )
    return [(e.miou, e.confusion.tolist()) for e in done.evaluations], load_file(weights)


def carry_out(tasks: list[RunTask]) -> None:
    for task in tasks:
        assert execute(task, WorkerContext(writer=task.launch_id)) == "done", RunFolder.of(
            task.storage, task.run_id
        ).failure()


def history(folder: Path, run_id: str) -> list[tuple[str, int, float]]:
    """Everything that a run reported, apart from times."""
    run = RunFolder.of(str(folder), run_id).folder
    rows = [row for _, found in pieces(run, -1, float("inf"), pytest.fail) for row in found]
    return sorted(
        (row.key, row.step, row.value) for row in rows if row.key != "train/seconds_per_step"
    )


def took_over(folder: Path, run_id: str) -> bool:
    notes = folder / "runs" / run_id / "log.txt"
    return notes.is_file() and "of a run that begins the same" in notes.read_text()


def shared_folders(folder: Path) -> list[Path]:
    return [path for path in (folder / FOLDER).iterdir() if path.is_dir()]


@pytest.mark.parametrize("method", SEMI_SUPERVISED)
def test_a_shared_warm_up_changes_no_bit(
    method: str, tiny_data: PreparedData, tmp_path: Path
) -> None:
    config = tiny_config(method, unsupervised_weight=0.5)
    maker = tiny_config(MAKER[config.method.num_students])
    carry_out([task_for(config, tiny_data, tmp_path / "alone", "run")])
    carry_out(
        mark_shared(
            [
                task_for(maker, tiny_data, tmp_path, "maker"),
                task_for(config, tiny_data, tmp_path, "run"),
            ]
        )
    )
    (shared,) = shared_folders(tmp_path)
    assert len(shared.name) == 24
    assert took_over(tmp_path, "run")
    assert history(tmp_path, "run") == history(tmp_path / "alone", "run")
    scores_alone, weights_alone = result(tmp_path / "alone", "run")
    scores, weights = result(tmp_path, "run")
    assert scores == scores_alone
    assert weights.keys() == weights_alone.keys()
    assert all(torch.equal(weights[name], weights_alone[name]) for name in weights)


def test_a_run_of_two_stages_goes_on_from_the_run_of_one(
    tiny_data: PreparedData, tmp_path: Path
) -> None:
    two = tiny_config("rml")
    one = replace(two, schedule=ScheduleConfig(warm_up_steps=4, stage_steps=(4,)))
    carry_out([task_for(two, tiny_data, tmp_path / "alone", "two")])
    carry_out(
        mark_shared(
            [task_for(one, tiny_data, tmp_path, "one"), task_for(two, tiny_data, tmp_path, "two")]
        )
    )
    assert took_over(tmp_path, "two")
    assert history(tmp_path, "two") == history(tmp_path / "alone", "two")
    scores_alone, weights_alone = result(tmp_path / "alone", "two")
    scores, weights = result(tmp_path, "two")
    assert scores == scores_alone
    assert all(torch.equal(weights[name], weights_alone[name]) for name in weights_alone)


def test_a_choice_made_before_is_taken_over_too(tiny_data: PreparedData, tmp_path: Path) -> None:
    """The best evaluation may lie in the steps that another run made: it is part of the state."""
    choosing = EvaluationConfig(batch=3, every_steps=2, moment="best_holdout", num_holdout=2)
    maker, config = (
        tiny_config(method, evaluation=choosing) for method in ("iml", "mutual_direct")
    )
    carry_out([task_for(config, tiny_data, tmp_path / "alone", "run")])
    carry_out(
        mark_shared(
            [
                task_for(maker, tiny_data, tmp_path, "maker"),
                task_for(config, tiny_data, tmp_path, "run"),
            ]
        )
    )
    assert took_over(tmp_path, "run")
    assert history(tmp_path, "run") == history(tmp_path / "alone", "run")
    assert result(tmp_path, "run")[0] == result(tmp_path / "alone", "run")[0]
    notes = [
        (folder / "runs" / "run" / "log.txt").read_text()
        for folder in (tmp_path, tmp_path / "alone")
    ]
    chosen = {
        line.split(": ", 1)[1]
        for text in notes
        for line in text.splitlines()
        if "final scores" in line
    }
    assert len(chosen) == 1, chosen


@pytest.mark.parametrize("part", ["weights", "reports"])
def test_the_damaged_end_of_a_shared_stage_is_trained_again(
    part: str, tiny_data: PreparedData, tmp_path: Path
) -> None:
    maker, run = mark_shared(
        [
            task_for(tiny_config("iml"), tiny_data, tmp_path, "maker"),
            task_for(tiny_config(), tiny_data, tmp_path, "run"),
        ]
    )
    carry_out([maker])
    (shared,) = shared_folders(tmp_path)
    file = shared / "students.safetensors" if part == "weights" else Path(f"{shared}.json")
    file.write_bytes(file.read_bytes()[:-8])
    carry_out([run])
    assert not took_over(tmp_path, "run")
    assert "damaged" in (tmp_path / "runs" / "run" / "log.txt").read_text()
    (shared,) = shared_folders(tmp_path)
    assert file.is_file()


@pytest.mark.parametrize(
    "other",
    [
        tiny_config("iml", seed=1),
        tiny_config("iml", schedule=ScheduleConfig(warm_up_steps=5, stage_steps=(4, 4))),
        tiny_config("mean_teacher"),
        tiny_config("iml", noise=replace(tiny_config().noise, model=False)),
        tiny_config("iml", batch=replace(tiny_config().batch, accumulate=2)),
        tiny_config("iml", evaluation=EvaluationConfig(batch=3, every_steps=2, moment="best_val")),
    ],
    ids=["seed", "steps", "students", "model noise", "micro-batches", "moment"],
)
def test_other_stages_are_not_shared(
    other: RunConfig, tiny_data: PreparedData, tmp_path: Path
) -> None:
    tasks = [
        task_for(tiny_config(), tiny_data, tmp_path, "run"),
        task_for(other, tiny_data, tmp_path, "other"),
    ]
    assert [task.shared_stages for task in mark_shared(tasks)] == [(), ()]


def test_whoever_can_take_a_stage_over_comes_after_all_others(
    tiny_data: PreparedData, tmp_path: Path
) -> None:
    configs = {
        "iml-0": tiny_config("iml"),
        "rml-0": tiny_config(),
        "iml-1": tiny_config("iml", seed=1),
        "rml-1": tiny_config(seed=1),
        "supervised": tiny_config("supervised"),
    }
    tasks = [task_for(config, tiny_data, tmp_path, name) for name, config in configs.items()]
    assert [task.run_id for task in mark_shared(tasks)] == [
        "iml-0",
        "iml-1",
        "supervised",
        "rml-0",
        "rml-1",
    ]


@pytest.mark.parametrize("first", ["iml", "rml"])
def test_who_trained_a_shared_warm_up_shows_in_no_history(
    first: str, tiny_data: PreparedData, tmp_path: Path
) -> None:
    """Both orders, the taker cut off and begun again in between, and the tracker alike."""
    names = sorted(("iml", "rml"), key=lambda name: name != first)
    tasks = mark_shared([task_for(tiny_config(name), tiny_data, tmp_path, name) for name in names])
    for name in names:
        carry_out([task_for(tiny_config(name), tiny_data, tmp_path / "alone", name)])
    carry_out(tasks[:1])
    for _ in range(2):  # what an attempt that died at once has done is done again
        found = SharedStages(tasks[1]).find(tmp_path / "scratch", pytest.fail)
        assert found is not None
    carry_out(tasks[1:])
    assert [took_over(tmp_path, name) for name in names] == [False, True]
    store = MlflowStore(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "artifacts")
    store.check()
    runs = [RunFolder.of(str(tmp_path), name) for name in names]
    began = [beat.first_step for run in runs if (beat := run.heartbeat())]
    assert began == [0, tasks[0].config.schedule.warm_up_steps], "what a pace is reckoned from"
    assert Publisher(MlflowTracker(store), "study", pytest.fail).sync(runs, closing=True) == []
    for name in names:
        alone = history(tmp_path / "alone", name)
        assert history(tmp_path, name) == alone
        recorded = store.find(name)
        assert recorded is not None
        keys = {to_mlflow_key(key) for key, _, _ in alone}
        values = [
            (metric.key, metric.step, metric.value)
            for key in keys
            for metric in MlflowClient(store.uri).get_metric_history(recorded, key)
        ]
        assert sorted(values) == sorted((to_mlflow_key(key), step, v) for key, step, v in alone)


def test_runs_that_report_at_other_steps_train_their_own_warm_up(
    tiny_data: PreparedData, tmp_path: Path
) -> None:
    often = tiny_config("iml", evaluation=EvaluationConfig(batch=3, every_steps=2))
    tasks = [
        task_for(tiny_config(), tiny_data, tmp_path, "run"),
        task_for(often, tiny_data, tmp_path, "often"),
    ]
    assert [task.shared_stages for task in mark_shared(tasks)] == [(), ()]


def test_a_checkpoint_of_another_stage_is_refused(
    tiny_data: PreparedData, scratch: Path, tmp_path: Path
) -> None:
    maker = tiny_config("iml", seed=1)
    made, _ = mark_shared(
        [task_for(maker, tiny_data, tmp_path, name) for name in ("maker", "twin")]
    )
    carry_out([made])
    shared = shared_folders(tmp_path)[0]
    config = tiny_config("iml")
    with pytest.raises(CheckpointError, match="not of a run that begins"):
        Trainer(
            config,
            tiny_data,
            make_split(tiny_data.names("train"), config.split),
            device=torch.device("cpu"),
            reporter=MemoryReporter(),
            work_dir=scratch,
            begin_from=shared,
        )
