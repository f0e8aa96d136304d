"""What the files of a run say about it."""

import math
import os
import pickle
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rml_dashboards.contract.states import STALE_AFTER_S
from rml_platform.run.codec import DamagedFileError
from rml_platform.run.run_folder import Failure, Heartbeat, Result, RunFolder, to_keep
from rml_platform.run.task import Process, RunTask, config_to_json
from rml_trainers.errors import ConfigError
from tests.support.platform.fake_trainer import evaluation
from tests.support.platform.tasks import beat_of
from tests.support.tiny import METHOD_CONFIGS, tiny_config

FAILURE = Failure(
    kind="ValueError", message="no", traceback="…", attempt=1, launch_id="a", time=1.0
)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder.of(str(tmp_path), "run-1")


def heartbeat(**changes: Any) -> Heartbeat:
    return beat_of(**changes)


def result() -> Result:
    return Result(
        evaluations=(evaluation(0.5),),
        steps=5,
        seconds=1.5,
        device="cpu",
        host="here",
        num_workers=1,
        attempt=2,
        code_version="abc",
        dirty=True,
        time=3.0,
    )


def test_a_run_without_files_is_new(run: RunFolder) -> None:
    assert run.record().state == "new"


def test_a_fresh_heartbeat_of_living_processes_is_a_running_run(run: RunFolder) -> None:
    run.write_heartbeat(heartbeat())
    assert run.record().state == "running"


def test_an_old_heartbeat_is_a_run_that_was_cut_off(run: RunFolder) -> None:
    elsewhere = replace(Process.current(), host="elsewhere")
    run.write_heartbeat(heartbeat(launcher=elsewhere, worker=elsewhere))
    assert run.record(now=time.time() + STALE_AFTER_S - 5).state == "running"
    assert run.record(now=time.time() + STALE_AFTER_S + 5).state == "cut_off"


def test_a_living_process_of_this_machine_is_alive_whatever_the_age_of_its_heartbeat(
    run: RunFolder,
) -> None:
    run.write_heartbeat(heartbeat())
    assert run.record(now=time.time() + 100 * STALE_AFTER_S).state == "running"


def test_a_run_that_said_goodbye_is_cut_off_at_once(run: RunFolder) -> None:
    run.write_heartbeat(heartbeat(state="stopped"))
    assert run.record().state == "cut_off"


@pytest.mark.parametrize("role", ["launcher", "worker"])
def test_a_fresh_heartbeat_of_a_killed_process_is_cut_off_at_once(
    run: RunFolder, role: str
) -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        run.write_heartbeat(heartbeat(**{role: Process.of(child.pid)}))
        assert run.record().state == "running"
        child.kill()
    assert run.record().state == "cut_off"


def test_another_process_with_the_number_of_a_dead_one_is_not_taken_for_it() -> None:
    here = Process.current()
    assert here.is_gone() is False
    assert replace(here, started="1").is_gone() is True


@pytest.mark.parametrize("other", [{"host": "elsewhere"}, {"machine": "another start of it"}])
def test_nothing_is_known_of_processes_of_other_machines(other: dict[str, Any]) -> None:
    assert replace(Process.current(), **other).is_gone() is None


def test_a_result_outweighs_everything_and_survives_the_disk(run: RunFolder) -> None:
    run.write_failure(FAILURE)
    run.write_heartbeat(heartbeat())
    run.write_result(result())
    record = run.record()
    assert record.state == "done"
    assert record.result is not None
    (stored,) = record.result.evaluations
    assert (stored.miou, stored.iou_by_class["sky"]) == (0.5, 0.5)
    assert math.isnan(stored.iou_by_class["pole"])
    assert stored.confusion.tolist() == [[3, 1], [0, 4]]
    assert (record.result.seconds, record.result.dirty) == (1.5, True)


def test_a_failure_is_told_until_the_next_attempt_begins(run: RunFolder) -> None:
    run.write_failure(FAILURE)
    assert run.record().state == "failed"
    run.begin(task("supervised"))
    assert run.record().state == "new"


def test_what_killed_writers_left_a_day_ago_is_removed_by_the_next_attempt(
    run: RunFolder, tmp_path: Path
) -> None:
    folder = tmp_path / "runs" / "run-1"
    now = time.time()
    left = [".heartbeat.json.0123abcd", "claims/.000000001.json.0123abcd", "metrics/.a.0123abcd"]
    stays = [".cancel.0123abcd", ".notes.zzzzzzzz", "old.0123abcd", "checkpoints/.a.0123abcd"]
    for name in (*left, *stays):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
        age_s = 23 * 3600 if name.startswith(".cancel") else 25 * 3600
        os.utime(folder / name, (now - age_s, now - age_s))
    run.begin(task("supervised"))
    assert not any((folder / name).exists() for name in left)
    assert all((folder / name).exists() for name in stays)


def test_a_cancelled_run_is_not_a_failed_one(run: RunFolder) -> None:
    run.write_failure(replace(FAILURE, kind="Cancelled"))
    assert run.record().state == "cancelled"


@pytest.mark.parametrize(
    ("name", "state"),
    [("result.json", "failed"), ("failure.json", "running"), ("heartbeat.json", "failed")],
)
@pytest.mark.parametrize("content", [b"", b"[]", b'{"kind": "Val'])
def test_a_damaged_file_is_named_and_the_next_sound_one_counts(
    run: RunFolder, name: str, state: str, content: bytes
) -> None:
    run.write_result(result())
    run.write_heartbeat(heartbeat())
    run.write_failure(FAILURE)
    if name != "result.json":
        run.folder.delete("result.json")
    run.folder.write(name, content)
    record = run.record()
    assert record.state == state
    (said,) = record.damaged
    assert said.startswith(f"{run.folder.path}/{name} is damaged: ")


@pytest.mark.parametrize("method", METHOD_CONFIGS)
def test_a_task_travels_unchanged(run: RunFolder, method: str) -> None:
    run.begin(task(method))
    assert run.task() == task(method)
    assert task(method).config == tiny_config(method)
    assert f"name: {method}" in (run.folder.read("config.yaml") or b"").decode()


def task(method: str) -> RunTask:
    return RunTask(
        run_id="run-1",
        config_json=config_to_json(tiny_config(method)),
        storage="/s",
        prepared_folder="/p",
        data_root=None,
        split_hash="s",
        data_hash="d",
        study="study",
        launch_id="a",
        launcher=Process(host="h", pid=1, started="2"),
        code_version="abc",
        dirty=False,
    )


@pytest.mark.parametrize("run_id", ["", ".", "..", "../other", "a/b", "/etc", "a\\b", "a\nb"])
def test_an_id_that_leads_out_of_the_runs_is_refused(tmp_path: Path, run_id: str) -> None:
    with pytest.raises(ConfigError, match="not the id of a run"):
        RunFolder.of(str(tmp_path), run_id)


@pytest.mark.parametrize("name", ["task", "heartbeat", "failure", "result"])
def test_a_pickle_in_a_runs_folder_is_damage_and_is_not_opened(
    run: RunFolder, tmp_path: Path, name: str
) -> None:
    made = tmp_path / "made"

    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (os.mkdir, (str(made),))

    run.folder.write(f"{name}.json", pickle.dumps(Bomb()))
    with pytest.raises(DamagedFileError, match=f"{name}.json"):
        getattr(run, name)()
    assert not made.exists()


def test_what_is_kept_of_a_record_has_everything_but_scores_and_processes(run: RunFolder) -> None:
    run.write_heartbeat(heartbeat(step=3, node="n"))
    run.write_result(result())
    whole = run.record()
    kept = to_keep(whole)
    assert kept.result == replace(result(), evaluations=())
    assert whole.heartbeat is not None and kept.heartbeat is not None
    launcher = kept.heartbeat.launcher
    worker = kept.heartbeat.worker
    assert kept.heartbeat == replace(whole.heartbeat, launcher=launcher, worker=worker)
    again = to_keep(run.record())
    assert again.heartbeat is not None
    assert again.heartbeat.launch_id is kept.heartbeat.launch_id, "one text for ten thousand"
