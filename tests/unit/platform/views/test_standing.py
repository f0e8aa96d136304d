"""Where the runs of a study stand: states, reasons, pace, what is left; as text and as JSON."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from rml_platform.launch.scheduling.queue_state import QueueState, queues, telling
from rml_platform.planning.costs.measured import Probe
from rml_platform.planning.plan_file.written_plan import WrittenPlan
from rml_platform.run.run_folder import Failure, RunRecord
from rml_platform.run.task import Process
from rml_platform.study.schema import load_study
from rml_platform.views.runs.cost_table import hours, size
from rml_platform.views.runs.standing import Standing, as_json, devices_of, standing
from rml_platform.views.runs.status_text import status_text
from tests.support.platform.plans import written
from tests.support.platform.studies import write_study
from tests.support.platform.tasks import beat_of

ME = Process.current()
BEAT = beat_of(
    process=ME,
    launch_id="now",
    device="H100",
    step=2,
    num_steps=8,
    seconds=20,
    seconds_per_step=4,
    loss=0.25,
    time=1000,
    gpu_percent=93,
    gpu_memory_bytes=12_000_000_000,
)
FAILURE = Failure(
    kind="ValueError", message="no", traceback="", attempt=1, launch_id="before", time=0
)


@pytest.fixture
def plan(tmp_path: Path) -> WrittenPlan:
    """Supervised and RML, 8 steps each, of two columns and two seeds."""
    return written(load_study(write_study(tmp_path)), tmp_path)


@pytest.fixture
def now(plan: WrittenPlan) -> Standing:
    """A study in the middle of a launch."""
    ids = [run.run_id for run in plan.runs]
    records = dict.fromkeys(ids, RunRecord(state="new"))
    records[ids[0]] = RunRecord(state="running", heartbeat=BEAT)
    records[ids[1]] = RunRecord(state="failed", failure=FAILURE, heartbeat=replace(BEAT, step=4))
    records[ids[2]] = RunRecord(state="cut_off", heartbeat=BEAT)
    queue = QueueState(
        launch_id="now",
        launcher=ME,
        under_way=(ids[0], ids[3]),
        waiting={ids[4]: "resources", ids[2]: "no room in the budget"},
        time=1000,
    )
    return standing(plan, records, frozenset({ids[5]}), [queue], now=1003)


def text_of(now: Standing) -> str:
    console = Console(file=io.StringIO(), width=300, highlight=False)
    console.print(status_text(now), soft_wrap=True)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_every_run_has_a_state_and_a_reason(now: Standing) -> None:
    assert [(run.state, run.reason) for run in now.runs] == [
        ("running", ""),
        ("failed", "no"),
        ("waiting", "no room in the budget"),
        ("waiting", "starting"),
        ("waiting", "resources"),
        ("cancelled", "cancelled"),
        ("new", "not launched"),
        ("new", "not launched"),
    ]
    assert not now.is_over


def test_the_text_tells_pace_device_and_what_is_left(now: Standing) -> None:
    lines = [line.split() for line in text_of(now).splitlines()]
    first = ["running", "2/8", "0.250", "0.25", "93", "12", "GB", "60", "s", "3", "s", "ago"]
    assert lines[1][1:] == first
    text = text_of(now)
    assert "ValueError: no" in text
    assert "8 runs for 8 cells: 1 running, 3 waiting, 1 failed, 1 cancelled, 2 to do" in text
    following = now.plan.runs[4].run_id
    assert f"launch now is at it (process {ME.pid} on {ME.host}); next: {following}\n" in text
    assert "0.25 steps/s together" in text
    # 60, 20 and 60 s of those that have begun, 60 s of another of their kind.
    assert "left: about 0.0556 GPU-hours, 3 min with 1 at once (from its own pace; runs of" in text
    assert "left: 3 runs, ETA unknown until one of them has trained some steps" in text


def test_a_run_that_starts_up_has_no_eta_unless_a_probe_was_made(plan: WrittenPlan) -> None:
    run = plan.runs[0]
    records = {run.run_id: RunRecord(state="new") for run in plan.runs}
    beginning = replace(BEAT, step=1, seconds=90, start_up_s=90, start_up_steps=1)
    records[run.run_id] = RunRecord(state="running", heartbeat=beginning)
    unknown = standing(plan, records, frozenset(), [], now=1003)
    assert " unknown  3 s ago" in text_of(unknown)
    assert as_json(unknown)["runs"][0]["seconds_left"] is None
    assert devices_of(plan, records) == {"H100"}
    probe = Probe(
        kind=run.kind,
        machine="H100 of host",
        warm_up_s=2,
        stage_s=2,
        evaluation_s=1,
        evaluation_every=0,
        run_bytes=1,
        time=0,
    )
    known = standing(plan, records, frozenset(), [], now=1003, probes={run.kind: probe})
    assert known.runs[0].seconds_left == 7 * 2 + 1
    assert "(from probe)" in text_of(known)


def test_json_has_the_same_and_no_not_a_number(now: Standing) -> None:
    found = json.loads(json.dumps(as_json(now), allow_nan=False))
    assert found["format"] == 1
    assert found["counts"] == {"running": 1, "failed": 1, "waiting": 3, "cancelled": 1, "new": 2}
    assert found["launches"] == [{"launch_id": "now", "host": ME.host, "pid": ME.pid}]
    assert (found["device"], found["runs_of_unknown_length"], found["runs_left"]) == ("GPU", 3, 7)
    assert found["seconds_left"] == 200
    assert [row["row"] for row in found["rows"]] == ["Supervised", "RML"]
    assert found["rows"][1]["seconds_left"] is None
    run = found["runs"][0]
    assert (run["steps_per_second"], run["seconds_left"], run["gpu_percent"]) == (0.25, 60, 93)
    assert run["cells"][0] == {"row": "Supervised", "column": "1/4", "seed": 0}
    assert found["runs"][1]["failure"] == {"kind": "ValueError", "message": "no"}


def test_gpu_columns_are_there_for_gpus_only(plan: WrittenPlan) -> None:
    records = {run.run_id: RunRecord(state="new") for run in plan.runs}
    records[plan.runs[0].run_id] = RunRecord(
        state="running",
        heartbeat=replace(BEAT, device="cpu", gpu_percent=None, gpu_memory_bytes=None),
    )
    now = standing(plan, records, frozenset(), [], now=1003)
    assert "GPU" not in text_of(now).splitlines()[0]
    assert "core-hours" in text_of(now)


def test_a_launch_tells_its_queue_while_it_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rml_platform.launch.scheduling.queue_state.EVERY_S", 0.01)
    place = str(tmp_path)
    with telling(place, "launch-1", lambda: (("a",), {"b": "resources"})):
        while not (found := queues(place)):
            pass
        (state,) = found
        assert (state.under_way, state.waiting) == (("a",), {"b": "resources"})
        gone = replace(state, launcher=replace(state.launcher, pid=2**22 - 1))
        assert not gone.is_alive(state.time)
        elsewhere = replace(state, launcher=replace(state.launcher, host="other"))
        assert [elsewhere.is_alive(state.time + age) for age in (60, 600)] == [True, False]
    assert queues(place) == []
    assert list((tmp_path / "launches").iterdir()) == []


@pytest.mark.parametrize(
    ("num_bytes", "shown"), [(999, "999 B"), (1_200_000, "1.2 MB"), (3.5e12, "3.5 TB")]
)
def test_sizes(num_bytes: float, shown: str) -> None:
    assert size(num_bytes) == shown


@pytest.mark.parametrize(("value", "shown"), [(0.01234, "0.0123"), (1234.5, "1,234")])
def test_hours(value: float, shown: str) -> None:
    assert hours(value) == shown
