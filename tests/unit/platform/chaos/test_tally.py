"""The tally of `rml chaos` sees what is wrong with a round: each kind of fault is noticed."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import psutil
import pytest
from mlflow import MlflowClient

from rml_platform.chaos.arena import Arena
from rml_platform.chaos.checks import left_behind
from rml_platform.chaos.checks.fingerprints import Fingerprint, fingerprint
from rml_platform.chaos.checks.tally import COLUMNS, Account, Column, examine, render
from rml_platform.chaos.grounds import OnThisMachine
from rml_platform.chaos.launches import MARK, Launch, title
from rml_platform.run.attempt import WorkerContext
from rml_platform.run.execute import execute
from rml_platform.run.run_folder import RunFolder
from rml_platform.tracking.mlflow_store import MlflowStore
from rml_platform.tracking.mlflow_tracker import MlflowTracker
from rml_platform.tracking.publisher import Publisher
from rml_trainers.data.prepared.cache import PreparedData
from tests.support.platform.fake_trainer import GOOD, FakeTrainer
from tests.support.platform.tasks import fake_config, task_for

RUN = "run"


@pytest.fixture(scope="module")
def finished(tiny_data: PreparedData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of a round that has come to its end, with nothing wrong."""
    out = tmp_path_factory.mktemp("finished")
    task = task_for(fake_config(GOOD), tiny_data, out, RUN)
    assert execute(task, WorkerContext(writer=task.launch_id), FakeTrainer) == "done"
    store = MlflowStore(f"sqlite:///{out / 'mlflow.db'}", out / "artifacts")
    store.check()
    runs = [RunFolder.of(str(out), RUN)]
    assert Publisher(MlflowTracker(store), "study", pytest.fail).sync(runs, closing=True) == []
    return out


@pytest.fixture
def arena(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Arena]:
    """That round, to be harmed."""
    monkeypatch.setattr(left_behind, "GONE_WITHIN_S", 0.0)
    shutil.copytree(finished, tmp_path / "out")
    (tmp_path / "temporary").mkdir()
    arena = Arena(
        study=tmp_path / "study.yaml",
        options=(),
        folder=tmp_path,
        temporary=tmp_path / "temporary",
        steps={RUN: 5},
        grounds=OnThisMachine("process"),
        tracking_uri=f"sqlite:///{tmp_path / 'out' / 'mlflow.db'}",
    )
    arena.look()
    yield arena
    arena.end()


@pytest.fixture
def expected(arena: Arena) -> dict[str, Fingerprint]:
    found = fingerprint(arena.run(RUN))
    assert found is not None
    return {RUN: found}


def wrong(arena: Arena, expected: dict[str, Fingerprint]) -> dict[Column, list[str]]:
    account = Account(number=1, grounds="process", faults=("none",))
    arena.look()
    examine(arena, expected, account)
    return account.wrong


def change_result(arena: Arena) -> None:
    file = arena.out / "runs" / RUN / "result.json"
    values = json.loads(file.read_text())
    values["evaluations"][0]["scores"]["miou"] += 1e-9
    file.write_text(json.dumps(values))


def write_result_again(arena: Arena) -> None:
    run = arena.run(RUN)
    result = run.result()
    assert result is not None
    run.write_result(result)


def measure_twice(arena: Arena) -> None:
    pieces = arena.out / "runs" / RUN / "metrics"
    first = min(pieces.iterdir())
    first.write_text(json.dumps(2 * json.loads(first.read_text())))


def lose_a_piece(arena: Arena) -> None:
    min((arena.out / "runs" / RUN / "metrics").iterdir()).unlink()


def record_twice(arena: Arena) -> None:
    client = MlflowClient(arena.tracking_uri)
    (experiment,) = [e for e in client.search_experiments() if e.name == "study"]
    client.create_run(experiment.experiment_id, tags={"rml.run_id": RUN})


def lose_a_run(arena: Arena) -> None:
    client = MlflowClient(arena.tracking_uri)
    (experiment,) = [e for e in client.search_experiments() if e.name == "study"]
    (run,) = client.search_runs([experiment.experiment_id])
    client.delete_run(run.info.run_id)


def record_a_value_more(arena: Arena) -> None:
    client = MlflowClient(arena.tracking_uri)
    (experiment,) = [e for e in client.search_experiments() if e.name == "study"]
    (run,) = client.search_runs([experiment.experiment_id])
    client.log_metric(run.info.run_id, "train/loss", 1.0, step=1)


def damage_result(arena: Arena) -> None:
    (arena.out / "runs" / RUN / "result.json").write_text("{")


def leave_a_folder(arena: Arena) -> None:
    (arena.temporary / "rml-tune-1").mkdir()


def leave_a_work_folder(arena: Arena) -> None:
    (arena.out / "runs" / RUN / "work-001-0").mkdir()


def test_nothing_is_wrong_with_a_round_that_is_in_order(
    arena: Arena, expected: dict[str, Fingerprint]
) -> None:
    assert wrong(arena, expected) == {}


@pytest.mark.parametrize(
    ("harm", "column"),
    [
        (damage_result, "lost"),
        (write_result_again, "twice"),
        (measure_twice, "twice"),
        (change_result, "different"),
        (lose_a_piece, "different"),
        (record_twice, "tracking"),
        (lose_a_run, "tracking"),
        (record_a_value_more, "tracking"),
        (leave_a_folder, "left"),
        (leave_a_work_folder, "left"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_what_is_wrong_is_seen(
    harm: Callable[[Arena], None], column: Column, arena: Arena, expected: dict[str, Fingerprint]
) -> None:
    harm(arena)
    found = wrong(arena, expected)
    assert column in found, found
    account = Account(number=1, grounds="process", faults=("none",), wrong=found)
    assert not account.is_clean
    words = render([account])
    assert f"round 1: {column}: {found[column][0]}" in words
    totals = next(line for line in words.splitlines() if line.strip().startswith("all")).split()
    assert int(totals[2 + list(COLUMNS).index(column)]) == len(found[column])


def test_a_process_that_is_left_is_seen(arena: Arena, expected: dict[str, Fingerprint]) -> None:
    left = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"], env={MARK: str(arena.folder)}
    )
    try:
        while title(psutil.Process(left.pid)) == "":
            pass
        assert any(f"process {left.pid}" in text for text in wrong(arena, expected)["left"])
    finally:
        left.kill()
        left.wait()


def test_a_result_that_a_fault_has_damaged_may_be_written_again(
    arena: Arena, expected: dict[str, Fingerprint]
) -> None:
    arena.forgiven.add(RUN)
    write_result_again(arena)
    assert wrong(arena, expected) == {}


@pytest.mark.parametrize("is_meant", [True, False])
def test_a_launch_that_a_fault_has_crashed_may_say_so(
    is_meant: bool, arena: Arena, expected: dict[str, Fingerprint]
) -> None:
    said = "*** SIGSEGV received\nStack trace:\n0x0 somewhere"
    launch = SimpleNamespace(
        said=said, is_crash_meant=is_meant, process=SimpleNamespace(pid=0), end=lambda: None
    )
    arena.launches.append(cast(Launch, launch))
    assert wrong(arena, expected) == ({} if is_meant else {"crashed": ["0x0 somewhere"]})
