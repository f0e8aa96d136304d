"""What a launch does with runs that are done, running, dead or failed; Ray itself is tested under
distributed/."""

import errno
import os
import re
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from rich.console import Console

from rml_platform.launch import launch as module
from rml_platform.launch import outcomes
from rml_platform.launch.direct import run_here
from rml_platform.launch.launch import launch
from rml_platform.launch.output_layout import OutputLayout
from rml_platform.launch.scheduling.budgets import Terms
from rml_platform.launch.scheduling.wishes import Wishes, with_cancelled, write_wishes
from rml_platform.launch.sizing import execution_of
from rml_platform.planning.plan import make_plan
from rml_platform.run.attempt import WorkerContext
from rml_platform.run.execute import execute
from rml_platform.run.faults import outages
from rml_platform.run.faults.claims import ClaimBoard
from rml_platform.run.run_folder import Failure, RunFolder
from rml_platform.run.task import RunTask
from rml_platform.study.retry_config import RetryConfig
from rml_platform.study.schema import load_study
from rml_platform.tracking import publisher
from rml_platform.tracking.tracker import TrackingError
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.errors import ConfigError, HubAwayError
from rml_trainers.networks.pretrained import hub
from tests.support.platform.fake_trainer import FakeTrainer
from tests.support.platform.studies import write_study
from tests.support.platform.tasks import beat_of
from tests.unit.platform.launch.conftest import STUDY, Grid, carry_out_by


def test_one_failed_run_does_not_stop_the_others_and_is_told_with_its_message(grid: Grid) -> None:
    report = grid.launch()
    assert report.done == [grid.good]
    assert report.failed[grid.bad].message == "loss is nan at step 3"
    assert (report.left, report.untracked, report.stopped_with) == ([], [], None)
    assert report.exit_code == 1
    assert f"{grid.good}: done, mIoU 5.0  [1/2 done]" in grid.said.getvalue()


def test_launching_again_leaves_finished_runs_alone_and_tries_failed_ones(grid: Grid) -> None:
    grid.launch()
    grid.trained.clear()
    report = grid.launch()
    assert grid.trained == [grid.bad]
    assert report.done_before == [grid.good]


def cancel(grid: Grid, *run_ids: str) -> None:
    wishes = with_cancelled(Wishes(), run_ids)
    write_wishes(str(grid.folder), "tiny", None, wishes)


def test_a_cancelled_run_is_not_started_and_told_apart(grid: Grid) -> None:
    cancel(grid, grid.bad)
    report = grid.launch()
    assert (report.done, report.left, report.failed) == ([grid.good], [grid.bad], {})
    assert report.held_back == {grid.bad: "cancelled"}
    assert report.exit_code == 0
    assert report.of({grid.good}).held_back == {}


def test_nothing_is_started_where_all_is_cancelled(grid: Grid) -> None:
    cancel(grid, grid.good, grid.bad)
    assert list(grid.launch().held_back) == [grid.good, grid.bad]
    assert grid.trained == []
    write_wishes(str(grid.folder), "tiny", None, Wishes())
    assert grid.launch().done == [grid.good]


def test_a_machine_that_cannot_get_the_weights_of_its_networks_starts_nothing(
    grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = type(grid.plan.runs[0].config.network)
    monkeypatch.setattr(network, "hub_model", property(lambda self: "resnet10t"))
    monkeypatch.setattr(hub, "_reachable", lambda endpoint: False)
    with pytest.raises(HubAwayError, match=r"'resnet10t' .*cannot be reached") as refusal:
        grid.launch(carry_out=pytest.fail)
    assert refusal.value.exit_code == 2
    assert "\n" not in str(refusal.value)
    assert [grid.run(run_id).heartbeat() for run_id in (grid.good, grid.bad)] == [None, None]
    begun: list[RunTask] = []

    def begin(tasks: Sequence[RunTask], **rest: object) -> dict[str, str]:
        begun.extend(tasks)
        return {}

    grid.launch(address="head:6379", carry_out=begin)
    assert len(begun) == 2, "on a cluster it is its nodes that need them"


def test_what_runs_will_be_given_counts_before_anything_is_started(tmp_path: Path) -> None:
    resources = "resources: {cpus_per_worker: 3, gpus_per_worker: 0}"
    grid = Grid(tmp_path, "none", f"max_gpu_hours: 2\n{resources}\n{STUDY}")
    grid.run(grid.good).write_heartbeat(beat_of(seconds=3600.0))
    report = grid.launch(carry_out=pytest.fail)
    assert report.over_budget[grid.good].startswith(
        "max_gpu_hours of tiny: 3 of 2 core-hours spent"
    )


def test_a_budget_that_is_used_up_ends_the_launch_with_a_code_of_its_own(grid: Grid) -> None:
    report = grid.launch(terms=Terms(max_gpu_hours=1e-9))
    assert (report.done, report.left, grid.trained) == ([grid.good], [grid.bad], [grid.good])
    assert list(report.over_budget) == [grid.bad]
    assert report.over_budget[grid.bad].startswith("--max-gpu-hours: ")
    assert report.exit_code == 3


def test_the_runs_of_several_studies_are_in_one_queue_and_recorded_in_each(grid: Grid) -> None:
    text = STUDY.replace("name: tiny", "name: other")
    folder = grid.folder / "other"
    folder.mkdir()
    other = make_plan(
        load_study(write_study(folder, text)), data_root=None, cache_root=grid.folder / "cache"
    )
    layout = OutputLayout(root=grid.folder, storage=str(grid.folder))
    console = Console(file=grid.said, width=200)
    report = launch(
        [grid.plan, other], layout=layout, data_root=None, tracking_uri="none", console=console
    )
    assert grid.trained == [grid.good, grid.bad], "each once"
    assert (report.done, list(report.failed)) == ([grid.good], [grid.bad])
    assert grid.run(grid.good).folder.child("studies").files() == ["other"]
    with pytest.raises(ConfigError, match="is called 'tiny', too"):
        launch([grid.plan, grid.plan], layout=layout, data_root=None, tracking_uri="none")


def test_what_fails_for_good_and_the_end_are_told(
    grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    class Answer:
        ok = True

    def post(url: str, json: dict[str, object], **rest: object) -> Answer:
        told.append(f"{url} {json['text']}")
        return Answer()

    def carry_out(tasks: Sequence[RunTask], **rest: Any) -> Mapping[str, str]:
        return run_here(tasks, RetryConfig(), pytest.fail, FakeTrainer, rest["turns"])

    monkeypatch.setattr("rml_platform.launch.scheduling.notices.requests.post", post)
    carry_out_by(monkeypatch, carry_out)
    grid.launch(notify=["http://host"])
    assert told == [
        f"http://host rml: {grid.bad} failed: NonFiniteLossError: loss is nan at step 3",
        "http://host rml: tiny ended: 1 done, 1 failed",
    ]


@pytest.mark.parametrize(
    ("is_cancelled", "said"),
    [(False, "tiny ended: 1 done, 1 failed"), (True, "tiny ended: 1 done, 1 left")],
)
def test_the_end_of_a_study_is_told_while_another_goes_on(
    is_cancelled: bool, said: str, grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = grid.folder / "other"
    folder.mkdir()
    text = STUDY.replace("name: tiny", "name: other").replace("seeds: [0, 1]", "seeds: [7, 8, 9]")
    assert "seeds: [7" in text
    other = make_plan(
        load_study(write_study(folder, text)), data_root=None, cache_root=grid.folder / "cache"
    )
    told: dict[str, Any] = {}

    def post(url: str, json: dict[str, Any], **rest: object) -> Any:
        assert json["text"] not in told
        told[json["text"].removeprefix("rml: ")] = json["time"]
        return SimpleNamespace(ok=True)

    def carry_out(tasks: Sequence[RunTask], **rest: Any) -> Mapping[str, str]:
        return run_here(tasks, RetryConfig(), pytest.fail, FakeTrainer, rest["turns"])

    monkeypatch.setattr("rml_platform.launch.scheduling.notices.requests.post", post)
    carry_out_by(monkeypatch, carry_out)
    if is_cancelled:
        cancel(grid, grid.bad)
    layout = OutputLayout(root=grid.folder, storage=str(grid.folder))
    console = Console(file=grid.said, width=200)
    launch(
        [grid.plan, other],
        layout=layout,
        data_root=None,
        tracking_uri="none",
        console=console,
        notify=["http://host"],
    )
    results = [grid.run(run.run_id).result() for run in other.runs]
    assert told[said] < max(result.time for result in results if result is not None)
    assert "other ended: 3 done" in told


def test_without_a_tracker_nothing_is_started(grid: Grid) -> None:
    with pytest.raises(TrackingError):
        grid.launch("http://127.0.0.1:9")
    assert grid.trained == []


def test_ctrl_c_is_a_clean_stop_and_the_next_launch_goes_on(
    grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(tasks: Sequence[RunTask], **rest: object) -> dict[str, str]:
        class Stopped(FakeTrainer):
            def _fail(self) -> None:
                if self.step == 3:
                    raise KeyboardInterrupt

        execute(tasks[0], WorkerContext(writer=tasks[0].launch_id), Stopped)
        return {}

    carry_out_by(monkeypatch, interrupted)
    report = grid.launch()
    assert (report.exit_code, report.left) == (130, [grid.good, grid.bad])
    assert grid.run(grid.good).record().state == "cut_off"
    carry_out_by(monkeypatch, grid.carry_out)
    assert grid.launch().done == [grid.good]
    result = grid.run(grid.good).result()
    assert result is not None
    assert result.attempt == 2


def test_a_run_whose_process_ray_lost_for_good_is_a_failed_run(
    grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    carry_out_by(
        monkeypatch, lambda tasks, **rest: {grid.good: "Traceback …\nActorDiedError: gone"}
    )
    report = grid.launch()
    assert report.failed[grid.good].message == "its process was lost: ActorDiedError: gone"
    assert report.left == [grid.bad]


def test_what_a_run_wrote_down_itself_outweighs_what_ray_says(
    tmp_path: Path, tiny_data: PreparedData
) -> None:
    run = RunFolder.of(str(tmp_path), "run-1")
    own = Failure(
        kind="ValueError", message="own", traceback="", attempt=1, launch_id="launch-1", time=1.0
    )
    run.write_failure(own)
    outcomes.write_losses({"run-1": "lost"}, {"run-1": run}, "launch-1")
    assert run.failure() == own


@pytest.mark.parametrize(
    ("wanted", "workers", "is_local", "taken"),
    [
        ("auto", 1, True, "direct"),
        ("auto", 2, True, "train"),
        ("auto", 1, False, "train"),
        ("direct", 1, False, "direct"),
        ("train", 1, True, "train"),
    ],
)
def test_the_cheapest_way_that_can_carry_a_run_out_is_taken(
    tmp_path: Path, wanted: str, workers: int, is_local: bool, taken: str
) -> None:
    file = write_study(tmp_path, STUDY.replace("execution: direct\n", ""))
    settings = (f"execution={wanted}", f"resources.workers={workers}")
    study = load_study(file, settings)
    assert load_study(file).execution == "auto"
    assert execution_of(study, is_local=is_local) == taken


def test_a_storage_that_is_away_now_and_then_is_waited_for(
    grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the first claim to the last word; at its beginning a launch would have been refused."""
    away = OSError(errno.ESTALE, os.strerror(errno.ESTALE))
    weather = Random(0)
    failed: list[str] = []
    begun: list[int] = []

    def now_and_then(place: type, name: str) -> None:
        own = getattr(place, name)

        def work(*what: Any, **more: Any) -> Any:
            if begun and weather.random() < 0.4:
                failed.append(name)
                raise away
            return own(*what, **more)

        monkeypatch.setattr(place, name, work)

    def triage(*what: Any) -> list[str]:
        pending = outcomes.triage(*what)
        begun.append(1)
        return pending

    monkeypatch.setattr(outages, "FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr(module, "triage", triage)
    for name in ("newest", "write"):
        now_and_then(ClaimBoard, name)
    for name in ("record", "write_heartbeat", "write_failure"):
        now_and_then(RunFolder, name)
    report = grid.launch()
    assert report.done == [grid.good]
    assert list(report.failed) == [grid.bad]
    assert grid.trained == [grid.good, grid.bad]
    assert {"newest", "record"} < set(failed)


def is_given_back(grid: Grid, run_id: str) -> bool:
    held = ClaimBoard(grid.run(run_id).folder).newest()
    return held is not None and held.claim is not None and held.claim.is_given_back


def test_a_stop_does_not_wait_for_a_tracker_that_says_nothing(
    grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_asked = threading.Event()
    answers = threading.Event()

    class Silent:
        name = "MLflow"

        def check(self) -> None: ...

        def publish(self, *run: object, **rest: object) -> None:
            is_asked.set()
            answers.wait()

    def stopped(tasks: Sequence[RunTask], **rest: object) -> dict[str, str]:
        execute(tasks[0], WorkerContext(writer=tasks[0].launch_id), FakeTrainer)
        assert is_asked.wait(60), "by the thread that sends meanwhile"
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "open_tracker", lambda *where: Silent())
    monkeypatch.setattr(outages, "STOPPED_S", 0.1)
    monkeypatch.setattr(publisher, "A_MOMENT_S", 0.1)
    carry_out_by(monkeypatch, stopped)
    report = grid.launch()  # without an end it would not come back
    answers.set()
    assert (report.exit_code, report.done, report.left) == (130, [grid.good], [grid.bad])
    assert report.untracked == [grid.good, grid.bad]
    assert is_given_back(grid, grid.good) and is_given_back(grid, grid.bad)
    assert "`rml tracking sync` or the next launch sends it" in " ".join(
        grid.said.getvalue().split()
    )


@pytest.mark.parametrize("is_stopped", [False, True])
def test_a_storage_that_is_full_is_told_when_all_else_is_done(
    grid: Grid, is_stopped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def both(tasks: Sequence[RunTask], **rest: object) -> dict[str, str]:
        for task in tasks:
            RunFolder.of(task.storage, task.run_id).write_heartbeat(
                beat_of(launch_id=task.launch_id)
            )
        monkeypatch.setattr(RunFolder, "write_heartbeat", full)
        if is_stopped:
            raise KeyboardInterrupt
        return {}

    def full(run: RunFolder, beat: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    carry_out_by(monkeypatch, both)
    sentence = f"{grid.folder}: [Errno 28] No space left on device. The disk is full: free some"
    if is_stopped:
        report = grid.launch()
        assert (report.exit_code, report.left) == (130, [grid.good, grid.bad])
        assert sentence in " ".join(grid.said.getvalue().split())
    else:
        with pytest.raises(outcomes.StorageError, match=re.escape(sentence)):
            grid.launch()
    assert is_given_back(grid, grid.good) and is_given_back(grid, grid.bad)


def test_a_storage_that_is_full_before_anything_is_claimed_is_told_in_a_sentence(
    grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = Mock(side_effect=OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    monkeypatch.setattr(ClaimBoard, "write", full)
    with pytest.raises(outcomes.StorageError, match="The disk is full: free some space and launch"):
        grid.launch()
    monkeypatch.setattr(ClaimBoard, "write", Mock(side_effect=PermissionError("a mistake?")))
    with pytest.raises(PermissionError):
        grid.launch()
