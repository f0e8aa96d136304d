"""What a run tells its folder, and in which order."""

import dataclasses
import json
import time
from pathlib import Path

import pytest

from rml_dashboards.contract.metric_keys import score_metrics
from rml_platform.run import reporters
from rml_platform.run.metric_log import Measurement, MetricLog, pieces
from rml_platform.run.reporters import Cancelled, Heart, RunReporter, WorkerReporter
from rml_platform.run.run_folder import Heartbeat, RunFolder
from rml_trainers.runtime.device_use import DeviceUse
from rml_trainers.training.reporting import Progress
from tests.support.platform.fake_trainer import evaluation
from tests.support.platform.tasks import beat_of


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder.of(str(tmp_path), "run-1")


def heart(run: RunFolder) -> Heart:
    return Heart(run, beat_of())


def progress(step: int) -> Progress:
    return Progress(stage=1, num_stages=3, step=step, num_steps=10, seconds_per_step=0.5)


def rows(run: RunFolder, last: float = float("inf")) -> list[tuple[str, int, float]]:
    return [
        (row.key, row.step, row.value)
        for _, piece in pieces(run.folder, -1, last, pytest.fail)
        for row in piece
    ]


def test_metrics_are_on_disk_before_the_checkpoint_that_covers_them(
    run: RunFolder, tmp_path: Path
) -> None:
    seen: list[list[tuple[str, int, float]]] = []
    reporter = RunReporter(run, heart(run), lambda progress, folder: seen.append(rows(run)))
    reporter.on_step(progress(4), {"loss": 2.0})
    assert rows(run) == []
    reporter.on_checkpoint(progress(5), tmp_path)
    assert seen == [[("train/loss", 4, 2.0), ("train/seconds_per_step", 4, 0.5)]]


def test_the_heartbeat_names_a_checkpoint_only_once_it_is_stored(
    run: RunFolder, tmp_path: Path
) -> None:
    beat = heart(run)

    def fail(progress: Progress, folder: Path | None) -> None:
        raise OSError("storage is away")

    with pytest.raises(OSError, match="away"):
        RunReporter(run, beat, fail).on_checkpoint(progress(5), tmp_path)
    assert beat.heartbeat.checkpoint_step == -1
    RunReporter(run, beat, lambda progress, folder: None).on_checkpoint(progress(6), tmp_path)
    assert beat.heartbeat.checkpoint_step == 6


def test_the_time_to_the_first_report_is_kept_apart_over_all_attempts(run: RunFolder) -> None:
    before = beat_of(step=4, first_step=2, seconds=100.0, start_up_s=30.0, start_up_steps=1)
    beat = Heart(run, before)
    reporter = RunReporter(run, beat, lambda progress, folder: None)
    reporter.on_step(progress(6), {})
    first = beat.heartbeat
    assert first.start_up_steps == 1 + 2
    assert 30 < first.start_up_s <= 30 + beat.seconds - 100
    reporter.on_step(progress(8), {})
    assert (beat.heartbeat.step, beat.heartbeat.start_up_steps) == (8, 3)
    assert beat.heartbeat.start_up_s == first.start_up_s


def test_values_that_are_not_finite_are_not_metrics(run: RunFolder) -> None:
    beat = heart(run)
    reporter = RunReporter(run, beat, lambda progress, folder: None)
    reporter.on_step(progress(1), {"loss": float("nan"), "other": 1.0})
    reporter.on_evaluation(progress(1), (evaluation(0.5),))
    reporter.metrics.close_piece(1)
    keys = {key for key, _, _ in rows(run)}
    assert keys == {
        "train/other",
        "train/seconds_per_step",
        "val/miou",
        "val/accuracy",
        "val/iou/sky",
    }
    assert (beat.heartbeat.loss, beat.heartbeat.miou) == (None, 0.5)


def test_only_the_first_network_has_the_short_names() -> None:
    second = dataclasses.replace(evaluation(0.25), network="student_2")
    names = score_metrics((evaluation(0.5), second), "val")
    assert (names["val/miou"], names["val/student_2/miou"]) == (0.5, 0.25)
    assert names["val/teacher_1/miou"] == 0.5, "so that a table can ask for it by its name"
    assert {name for name in names if "iou/sky" in name} == {"val/iou/sky", "val/student_2/iou/sky"}
    assert not any("teacher_1" in name for name in score_metrics((evaluation(0.5),), "val"))


def test_scores_on_a_hold_out_stand_apart() -> None:
    held_out = dataclasses.replace(evaluation(0.25), subset="holdout")
    second = dataclasses.replace(evaluation(0.75), subset="holdout", network="student_2")
    names = score_metrics((evaluation(0.5), held_out, second), "val")
    miou = {name: value for name, value in names.items() if name.endswith("miou")}
    expected = {
        "holdout/miou": 0.25,
        "holdout/teacher_1/miou": 0.25,
        "holdout/student_2/miou": 0.75,
    }
    assert miou == {"val/miou": 0.5, **expected}


def test_a_wish_to_cancel_ends_the_run_at_its_next_report(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporters, "WRITE_EVERY_S", 0.01)
    with heart(run) as beating:
        reporter = RunReporter(run, beating, lambda progress, folder: None)
        reporter.on_step(progress(1), {"loss": 1.0})
        run.request_cancel()
        while beating.stop_wish == "never":
            beating.update(step=1)
            time.sleep(0.005)
        with pytest.raises(Cancelled, match="step 2 of 10"):
            reporter.on_step(progress(2), {"loss": 1.0})


def test_a_wish_to_cancel_at_a_checkpoint_loses_no_step(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporters, "WRITE_EVERY_S", 0.01)
    delivered: list[int] = []
    with heart(run) as beating:
        reporter = RunReporter(run, beating, lambda now, folder: delivered.append(now.step))
        run.request_cancel(at_checkpoint=True)
        while beating.stop_wish == "never":
            beating.update(step=1)
            time.sleep(0.005)
        reporter.on_step(progress(2), {"loss": 1.0})
        with pytest.raises(Cancelled, match="after the checkpoint of step 4 of 10"):
            reporter.on_checkpoint(progress(4), None)
        reporter.on_checkpoint(progress(10), None)  # the last: there is nothing left to stop
    assert delivered == [4, 10]


def test_a_deadline_stops_the_run_at_the_last_checkpoint_before_it(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("rml_platform.run.reporters.time.time", lambda: now[0])
    reporter = RunReporter(run, heart(run), lambda progress, folder: None, stop_by=35.0)
    for step in (1, 2):
        now[0] += 10
        reporter.on_step(progress(step), {"loss": 1.0})
        reporter.on_checkpoint(progress(step), None)
    now[0] += 10
    with pytest.raises(Cancelled, match="after the checkpoint of step 3 of 10: deadline"):
        reporter.on_checkpoint(progress(3), None)
    now[0] = 36
    with pytest.raises(Cancelled, match="stopped at step 4 of 10: deadline"):
        reporter.on_step(progress(4), {"loss": 1.0})


def test_the_heart_tells_what_the_device_is_at(run: RunFolder) -> None:
    beating = Heart(run, heart(run).heartbeat, device_use=lambda: DeviceUse(7, 50.0))
    beating.write()
    beat = run.heartbeat()
    assert beat is not None
    assert (beat.gpu_memory_bytes, beat.gpu_percent) == (7, 50.0)


def test_notes_of_all_attempts_are_in_the_log(run: RunFolder) -> None:
    for text in ("first\nattempt", "second"):
        RunReporter(run, heart(run), lambda progress, folder: None).on_note("warning", text)
    lines = (run.folder.read("log.txt") or b"").decode().splitlines()
    assert [line.split(" warning: ")[1] for line in lines] == ["first attempt", "second"]


def test_a_damaged_byte_in_the_log_is_no_reason_to_fail(run: RunFolder) -> None:
    run.folder.write("log.txt", b"2026-01-01 00:00:00 warning: fir\xffst\n")
    RunReporter(run, heart(run), lambda progress, folder: None).on_note("warning", "second")
    lines = (run.folder.read("log.txt") or b"").decode().splitlines()
    assert [line.split(" warning: ")[1] for line in lines] == ["fir\ufffdst", "second"]
    run.folder.write("cancel", b"checkpoint over bud\xffget")
    assert run.why_stopped() == "over bud\ufffdget"


def test_the_heart_beats_without_being_told_to_and_says_goodbye(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporters, "ALIVE_EVERY_S", 0.01)
    monkeypatch.setattr(reporters, "WRITE_EVERY_S", 0.01)
    with heart(run):
        first = run.heartbeat()
        assert first is not None
        while (later := run.heartbeat()) is None or later.time <= first.time:
            time.sleep(0.005)
        assert run.record().state == "running"
        assert later.seconds > first.seconds
    last = run.heartbeat()
    assert last is not None
    assert last.state == "stopped"


def test_a_storage_that_is_away_for_a_moment_does_not_stop_the_heart(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporters, "WRITE_EVERY_S", 0.01)
    calls = 0
    write = RunFolder.write_heartbeat

    def flaky(self: RunFolder, beat: Heartbeat) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError("away")
        write(self, beat)

    monkeypatch.setattr(RunFolder, "write_heartbeat", flaky)
    with heart(run) as beating:
        beating.update(step=7)
        while (seen := run.heartbeat()) is None or seen.step != 7:
            time.sleep(0.005)
    assert calls >= 3


def test_other_ranks_deliver_and_say_nothing(run: RunFolder) -> None:
    delivered: list[Path | None] = []
    reporter = WorkerReporter(lambda progress, folder: delivered.append(folder))
    reporter.on_step(progress(1), {"loss": 1.0})
    reporter.on_note("info", "x")
    reporter.on_checkpoint(progress(1), None)
    assert delivered == [None]
    assert not run.folder.exists()


def test_a_resumed_run_measures_again_what_no_checkpoint_covers(run: RunFolder) -> None:
    log = MetricLog(run.folder)
    for step in (1, 2, 3):
        log.add(step, {"a": step})
        log.close_piece(step)
    log.forget_after(2)
    assert rows(run) == [("a", 1, 1.0), ("a", 2, 2.0)]
    again = MetricLog(run.folder)
    again.add(3, {"a": 33})
    again.close()
    assert rows(run)[-1] == ("a", 3, 33.0)
    assert rows(run, last=2) == [("a", 1, 1.0), ("a", 2, 2.0)]


@pytest.mark.parametrize("name", [".nfs0000000a3", "000000002.json~", "copy of 000000002.json"])
def test_a_file_that_is_no_piece_is_let_be(name: str, run: RunFolder) -> None:
    log = MetricLog(run.folder)
    log.add(1, {"a": 1})
    log.close_piece(1)
    run.folder.child("metrics").write(name, b"not ours")
    log.forget_after(1)
    assert rows(run) == [("a", 1, 1.0)]
    assert run.folder.child("metrics").read(name) == b"not ours"


def test_a_piece_is_plain_json(run: RunFolder) -> None:
    log = MetricLog(run.folder)
    log.add(1, {"a": 0.1})
    log.close_piece(1)
    ((key, step, time_ms, value),) = json.loads(
        (run.folder.child("metrics").read("000000001.json")) or b""
    )
    assert (Measurement(key, step, time_ms, value).value, step) == (0.1, 1)
