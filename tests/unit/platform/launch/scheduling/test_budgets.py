"""What a budget lets start, what it stops, and when a deadline is."""

import errno
import os
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from rml_platform.launch.run_queue import RunQueue
from rml_platform.launch.scheduling.budgets import Budget, gpu_kinds_asked_for, parse_deadline
from rml_platform.launch.scheduling.limits import limits_of
from rml_platform.launch.scheduling.turns import Turns
from rml_platform.planning.costs.measured import Probe, write_probe
from rml_platform.planning.costs.probe import probed_machine, probes_of
from rml_platform.planning.plan_file.written_plan import WrittenPlan
from rml_platform.run.run_folder import RunFolder, RunRecord
from rml_platform.run.task import RunTask, config_to_json
from rml_platform.study.retry_config import RetryConfig
from rml_platform.study.schema import load_study
from rml_platform.study.study_file import ResourcesConfig
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.errors import ConfigError
from tests.support.platform.fake_trainer import GOOD
from tests.support.platform.plans import written
from tests.support.platform.studies import STUDY, write_study
from tests.support.platform.tasks import beat_of, fake_config, task_for
from tests.support.tiny import tiny_config

HOUR = 3600.0
A100 = "NVIDIA A100-SXM4-80GB"


class Spending:
    """Runs of a study of 8 steps each, and what a budget says of them."""

    def __init__(self, plan: WrittenPlan, task: RunTask, storage: Path) -> None:
        self.plan = plan
        self.ids = [run.run_id for run in plan.runs]
        self.folders = {run_id: RunFolder.of(str(storage), run_id) for run_id in self.ids}
        self.tasks = [replace(task, run_id=run_id) for run_id in self.ids]
        self.now = 0.0

    def spend(self, index: int, hours: float, step: int = 4, **changes: Any) -> None:
        """Hours that a run has taken by now; by this launch, where the changes do not say it."""
        beat = beat_of(step=step, seconds=hours * HOUR, **changes)
        self.folders[self.ids[index]].write_heartbeat(beat)

    def budget(self, hours: float | None = None, deadline: float | None = None) -> Budget:
        limits = limits_of([self.plan], hours)
        return Budget([self.plan], self.folders, limits, deadline, clock=lambda: self.now)


@pytest.fixture
def spending(tiny_data: PreparedData, tmp_path: Path) -> Spending:
    plan = written(load_study(write_study(tmp_path)), tmp_path)
    task = task_for(fake_config(GOOD), tiny_data, tmp_path, "run")
    return Spending(plan, task, tmp_path)


def test_without_limits_everything_may_start(spending: Spending) -> None:
    assert spending.budget().refusal(spending.tasks[0], ()) == ""


def test_what_would_not_fit_is_not_started(spending: Spending) -> None:
    """Each run of the kind takes 2 hours, as the first tells in its middle."""
    first, second, third, *_ = spending.tasks
    budget = spending.budget(hours=4.5)
    assert budget.refusal(first, ()) == "", "nothing is known, so it is tried"
    spending.spend(0, hours=1)
    assert budget.refusal(second, [first]) == ""
    assert budget.refusal(third, [first, second]) == (
        "--max-gpu-hours: 1 of 4.5 core-hours spent, 3 promised, it takes 2"
    )
    budget.stop_what_is_over([first.run_id])
    assert budget.stopped == {}


def test_what_runs_is_stopped_at_a_checkpoint_when_the_budget_is_used_up(
    spending: Spending,
) -> None:
    first, second, *_ = spending.tasks
    budget = spending.budget(hours=1)
    budget.refusal(first, ())
    spending.spend(0, hours=1.5)
    budget.stop_what_is_over([first.run_id])
    folder = spending.folders[first.run_id]
    assert (folder.stop_requested(), folder.why_stopped()) == (
        "checkpoint",
        "--max-gpu-hours: used up",
    )
    assert budget.why_stopped(first.run_id) == "--max-gpu-hours: used up"
    assert "1.5 of 1 core-hours spent" in budget.refusal(second, ())


def test_a_run_that_an_outage_kept_from_being_asked_to_stop_is_asked_again(
    spending: Spending, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = spending.tasks[0]
    budget = spending.budget(hours=1)
    budget.refusal(first, ())
    spending.spend(0, hours=1.5)
    with monkeypatch.context() as patch:
        away = OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        patch.setattr(RunFolder, "request_cancel", Mock(side_effect=away))
        with pytest.raises(OSError, match="Stale"):
            budget.stop_what_is_over([first.run_id])
    assert budget.why_stopped(first.run_id) == ""
    budget.stop_what_is_over([first.run_id])
    assert spending.folders[first.run_id].stop_requested() == "checkpoint"
    assert budget.why_stopped(first.run_id) == "--max-gpu-hours: used up"


def test_what_was_spent_before_counts_for_the_study_and_not_for_the_launch(
    spending: Spending,
) -> None:
    spending.spend(0, hours=1)
    second = spending.tasks[1]
    assert spending.budget(hours=2).refusal(second, ()) == ""
    spending.plan = replace(spending.plan, max_gpu_hours=2.5)
    reason = spending.budget().refusal(second, ())
    assert reason == "max_gpu_hours of tiny: 1 of 2.5 core-hours spent, it takes 2"


def test_what_another_launch_spends_meanwhile_is_not_spent_by_this_one(spending: Spending) -> None:
    spending.spend(0, hours=1, launch_id="other")
    own = spending.tasks[4]
    budget = spending.budget(hours=10)
    assert budget.refusal(own, ()) == ""
    spending.spend(0, hours=12, launch_id="other")
    spending.spend(1, hours=12, launch_id="another")
    spending.spend(4, hours=3)
    budget.stop_what_is_over([own.run_id])
    assert budget.stopped == {}
    assert budget.refusal(spending.tasks[5], [own]) == (
        "--max-gpu-hours: 3 of 10 core-hours spent, 3 promised, it takes 6"
    )


def test_a_run_that_is_taken_over_costs_this_launch_what_it_takes_from_there_on(
    spending: Spending,
) -> None:
    taken_over = spending.ids[0]
    third = spending.tasks[2]
    spending.spend(0, hours=1, launch_id="other", step=8)
    budget = spending.budget(hours=10)
    budget.refusal(spending.tasks[4], ())
    # It went on until it was ended; nobody has looked meanwhile.
    spending.spend(0, hours=12, launch_id="other", step=8)
    budget.take({taken_over: spending.folders[taken_over].record()})
    spending.spend(0, hours=14, step=8)
    budget.stop_what_is_over([taken_over])
    assert budget.stopped == {}
    assert budget.refusal(third, ()).startswith("--max-gpu-hours: 2 of 10 core-hours spent, ")
    budget.give_back(taken_over)
    spending.spend(0, hours=40, launch_id="other", step=8)
    assert budget.refusal(third, ()).startswith("--max-gpu-hours: 2 of 10 core-hours spent, ")


@pytest.mark.parametrize("is_over", [False, True])
def test_what_another_launch_begins_later_counts_for_the_study(
    is_over: bool, spending: Spending
) -> None:
    """Also where it is over by the time that somebody looks again."""
    spending.plan = replace(spending.plan, max_gpu_hours=2.5)
    own = spending.tasks[4]
    budget = spending.budget()
    budget.take({own.run_id: spending.folders[own.run_id].record()})
    assert budget.refusal(own, ()) == ""
    state = "stopped" if is_over else "running"
    spending.spend(0, hours=2, launch_id="other", state=state)
    reason = budget.refusal(spending.tasks[1], ())
    assert reason == "max_gpu_hours of tiny: 2 of 2.5 core-hours spent, it takes 4"
    spending.spend(0, hours=3, launch_id="other", state=state)
    budget.stop_what_is_over([own.run_id])
    assert list(budget.stopped) == [own.run_id], "and nothing of the other launch"


def test_a_heartbeat_that_is_lost_gives_no_hours_back(spending: Spending) -> None:
    spending.plan = replace(spending.plan, max_gpu_hours=2.5)
    first, second = spending.tasks[4:6]
    budget = spending.budget(hours=10)
    budget.refusal(first, ())
    spending.spend(4, hours=2)
    budget.stop_what_is_over([first.run_id])
    spending.folders[first.run_id].folder.write("heartbeat.json", b"{")
    budget.stop_what_is_over([first.run_id])
    spending.spend(4, hours=1)
    budget.stop_what_is_over([first.run_id])
    assert list(budget.stopped.values()) == ["max_gpu_hours of tiny: used up"]
    assert budget.refusal(second, ()).startswith("max_gpu_hours of tiny: 3 of 2.5 core-hours spent")


def test_a_row_has_a_budget_of_its_own(spending: Spending) -> None:
    rows = (replace(spending.plan.rows[0], max_gpu_hours=1.5), *spending.plan.rows[1:])
    spending.plan = replace(spending.plan, rows=rows)
    spending.spend(0, hours=1)
    budget = spending.budget()
    assert budget.refusal(spending.tasks[1], ()).startswith("max_gpu_hours of row 'Supervised': 1")
    assert budget.refusal(spending.tasks[-1], ()) == ""


def test_runs_that_wait_for_room_are_judged_by_one_look(
    spending: Spending, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each run of the kind takes 2 hours, as the first tells."""
    rows = (replace(spending.plan.rows[0], max_gpu_hours=6.5), *spending.plan.rows[1:])
    spending.plan = replace(spending.plan, rows=rows)
    turns = Turns(gate=spending.budget().judging)
    queue = RunQueue(spending.tasks[:4], RetryConfig(), pytest.fail, turns)
    while queue.next() is not None:
        pass
    assert len(queue.under_way()) == 4, "nothing is known, so all are tried"
    spending.spend(0, hours=1)
    read: list[str] = []
    record = RunFolder.record

    def counted(self: RunFolder) -> RunRecord:
        read.append(self.run_id)
        return record(self)

    monkeypatch.setattr(RunFolder, "record", counted)
    assert queue.take_back_unwanted(spending.ids[1:4]) == {
        spending.ids[
            3
        ]: "max_gpu_hours of row 'Supervised': 1 of 6.5 core-hours spent, 5 promised, it takes 2",
    }
    assert sorted(read) == sorted(spending.ids[:4])


@pytest.mark.parametrize(
    ("resources", "is_local", "machine"),
    [
        ({"gpus_per_worker": 0}, True, "here"),
        ({"gpus_per_worker": 0}, False, "1 cores of b"),
        ({"gpus_per_worker": 1, "accelerator": "A100"}, False, "NVIDIA A100-SXM4-80GB of b"),
        ({"gpus_per_worker": 1, "accelerator": "T4"}, False, None),
        ({"gpus_per_worker": 1}, False, None),
        ({"gpus_per_worker": "auto"}, False, None),
    ],
)
def test_a_launch_to_a_cluster_does_not_go_by_what_this_machine_is_like(
    resources: dict[str, Any],
    is_local: bool,
    machine: str | None,
    spending: Spending,
    tmp_path: Path,
) -> None:
    plan = replace(spending.plan, resources=ResourcesConfig(**resources))
    kind = plan.runs[0].kind
    here = probed_machine(plan.resources)
    cores = here.partition(" of ")[0]
    for time, kept in enumerate((f"{cores} of b", "NVIDIA A100-SXM4-80GB of b", here)):
        steps = {"warm_up_s": 1, "stage_s": 1, "evaluation_s": 1, "evaluation_every": 0}
        probe = Probe(kind=kind, machine=kept, run_bytes=1, time=-time, **steps)
        write_probe(tmp_path, probe)
    kinds = gpu_kinds_asked_for(plan.resources)
    found = probes_of(plan, tmp_path, is_local=is_local, gpu_kinds=kinds)
    wanted = {"here": here, "1 cores of b": f"{cores} of b"}.get(machine or "", machine)
    assert [probe.machine for probe in found.values()] == ([wanted] if wanted else [])


def test_nothing_is_started_that_would_end_after_the_deadline(spending: Spending) -> None:
    spending.spend(0, hours=1)
    budget = spending.budget(deadline=3 * HOUR)
    task = spending.tasks[1]
    assert budget.refusal(task, ()) == ""
    spending.now = 1.5 * HOUR
    assert budget.refusal(task, ()) == "takes 2.0 h; 1.5 h until the deadline"
    assert budget.refusal(spending.tasks[-1], ()) == "", "nothing is known of how long it takes"
    spending.now = 3 * HOUR
    assert budget.refusal(spending.tasks[-1], ()) == "the deadline has passed"


@pytest.mark.parametrize(
    ("device", "accelerator", "here", "is_known"),
    [
        ("cpu", None, (), False),
        ("cpu", "A100", (), False),
        ("NVIDIA T4", "A100", (), False),
        ("NVIDIA T4", None, (A100,), False),
        ("NVIDIA T4", None, (), True),
        (A100, "A100", (), True),
        (A100, None, (A100,), True),
    ],
)
def test_what_a_run_took_on_another_device_is_no_reason_to_start_none(
    device: str, accelerator: str | None, here: tuple[str, ...], is_known: bool, spending: Spending
) -> None:
    spending.spend(0, hours=100, launch_id="before", device=device, state="stopped")
    limits = limits_of([spending.plan], 200)
    budget = Budget(
        [spending.plan],
        spending.folders,
        limits,
        deadline=150 * HOUR,
        clock=lambda: 0.0,
        gpu_kinds=here,
    )
    config = tiny_config("supervised")
    text = config_to_json(replace(config, runtime=replace(config.runtime, device="auto")))
    first, second, *_ = (
        replace(task, gpus_per_worker=4, accelerator=accelerator, config_json=text)
        for task in spending.tasks
    )
    if is_known:
        assert budget.refusal(first, ()).startswith("--max-gpu-hours: 0 of 200 GPU-hours spent, it")
        return
    assert budget.refusal(first, ()) == ""
    assert budget.refusal(second, [first]) == ""
    spending.spend(0, hours=110, device=A100, elsewhere_s=100 * HOUR, elsewhere_steps=4, step=5)
    assert budget.refusal(second, [first]) == (
        "--max-gpu-hours: 40 of 200 GPU-hours spent, 120 promised, it takes 320"
    )


def test_runs_whose_configuration_wants_the_cpu_have_its_pace(spending: Spending) -> None:
    spending.spend(0, hours=1)
    given = replace(spending.tasks[1], gpus_per_worker=1)
    assert spending.tasks[1].config.runtime.device == "cpu"
    assert spending.budget(hours=1.5).refusal(given, ()) == (
        "--max-gpu-hours: 0 of 1.5 GPU-hours spent, it takes 2"
    )


def test_devices_multiply_hours(spending: Spending) -> None:
    wide = replace(spending.tasks[1], num_workers=2, gpus_per_worker=2)
    spending.spend(0, hours=1)
    budget = spending.budget(hours=7)
    assert budget.refusal(wide, ()) == "--max-gpu-hours: 0 of 7 GPU-hours spent, it takes 8"


def test_what_earlier_launches_spent_is_counted_again_once_it_is_known_what_runs_are_given(
    spending: Spending,
) -> None:
    """A launch asks whether any run may start before it knows the machine that they will be on."""
    spending.spend(0, hours=1)
    spending.plan = replace(spending.plan, max_gpu_hours=6)
    turns = Turns(gate=spending.budget().judging)
    assert turns.may_any_start(spending.tasks)
    for task in spending.tasks[1:3]:
        turns.add(replace(task, num_workers=2, gpus_per_worker=2))
    assert turns.next(()) is None
    assert set(turns.reasons().values()) == {
        "max_gpu_hours of tiny: 4 of 6 GPU-hours spent, it takes 8"
    }


def test_the_runs_of_each_study_are_counted_as_what_they_are_given(spending: Spending) -> None:
    """Also those that are done, whichever study is asked about first."""
    small = replace(spending.plan, name="small", runs=spending.plan.runs[:4], max_gpu_hours=3)
    large = replace(spending.plan, name="large", runs=spending.plan.runs[4:], max_gpu_hours=6)
    plans = [small, large]
    for index in (0, 4):
        spending.spend(index, hours=1)
    budget = Budget(plans, spending.folders, limits_of(plans, None))
    wide = [replace(task, num_workers=2, gpus_per_worker=2) for task in spending.tasks[4:]]
    assert budget.refusal(wide[1], ()).endswith("4 of 6 GPU-hours spent, it takes 8")
    assert budget.refusal(spending.tasks[1], ()) == ""
    assert budget.refusal(wide[1], ()).endswith("4 of 6 GPU-hours spent, it takes 8")


@pytest.mark.parametrize(
    ("text", "seconds"), [("90m", 5400), ("6h", 21600), ("1.5 d", 129600), ("45s", 45)]
)
def test_deadlines_from_now(text: str, seconds: float) -> None:
    assert parse_deadline(text, 1000.0) == 1000 + seconds


def test_a_deadline_may_be_a_date() -> None:
    text = "2030-05-06T07:08"
    assert parse_deadline(text, 0) == datetime(2030, 5, 6, 7, 8).timestamp()
    assert parse_deadline("1970-01-02T00:00+00:00", 0) == 24 * HOUR


@pytest.mark.parametrize(
    ("text", "why"),
    [("soon", "expected a time from now"), ("1970-01-01T00:00+00:00", "has passed")],
)
def test_what_is_no_deadline(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        parse_deadline(text, 10.0)


def test_budgets_are_read_from_the_file(tmp_path: Path) -> None:
    text = STUDY.replace("- label: RML\n", "- label: RML\n    max_gpu_hours: 3\n")
    plan = written(load_study(write_study(tmp_path, f"max_gpu_hours: 12\n{text}")), tmp_path)
    found = [(limit.name, limit.hours, len(limit.run_ids)) for limit in limits_of([plan], 1.0)]
    assert found == [
        ("--max-gpu-hours", 1, 8),
        ("max_gpu_hours of tiny", 12, 8),
        ("max_gpu_hours of row 'RML'", 3, 4),
    ]
    with pytest.raises(ConfigError, match=r"max_gpu_hours.*a positive number of hours"):
        load_study(write_study(tmp_path, f"max_gpu_hours: 0\n{STUDY}"))
