"""Looks at plans and run folders: what is read, what is told, and what cannot be reached."""

import os
import shutil
import time
from pathlib import Path

import pytest

from rml_dashboards.contract.freshness import SETTLED_NS
from rml_dashboards.contract.states import STALE_AFTER_S
from rml_dashboards.errors import DashboardError
from rml_dashboards.live.reading import plans
from rml_dashboards.live.reading.plans import PlanFolder
from rml_dashboards.live.reading.storage import RunStorage
from rml_dashboards.live.reading.watch import Watch
from tests.support.dashboards.live_grid import LiveGrid, all_new, heartbeat, one_of_each, result

RUN = "grid-0-0-2"
"""The first run that is at work."""


def watch_of(out: Path, *studies: str) -> Watch:
    return Watch(RunStorage(str(out)), PlanFolder((str(out),), studies))


def settle(grid: LiveGrid) -> None:
    """Make every folder and file look as if it had not changed for a while."""
    past = time.time_ns() - 2 * SETTLED_NS
    for path in (grid.out / "runs").rglob("*"):
        os.utime(path, ns=(past, past))


@pytest.fixture
def grid(tmp_path: Path) -> LiveGrid:
    made = LiveGrid.make(tmp_path)
    settle(made)
    return made


def test_states_are_those_of_the_folders(grid: LiveGrid) -> None:
    watch = watch_of(grid.out)
    change = watch.look()
    assert change is not None and change.are_plans_new
    states = [watch.snapshot.status(run_id).state for *_, run_id in grid.cells()]
    assert states == [one_of_each(number) for number in range(len(states))]
    status = watch.snapshot.status(RUN)
    assert (status.step, status.device, status.host) == (102, "cuda:0", "machine-1")
    assert watch.snapshot.status("grid-0-1-0").reason == "CudaError: the device ran out of memory"


def test_only_what_has_changed_is_read_again(grid: LiveGrid) -> None:
    watch = watch_of(grid.out)
    watch.look()
    assert watch.num_read == len(list((grid.out / "runs").iterdir()))
    assert watch.look() is None
    assert watch.num_read == 0
    grid.write(RUN, "heartbeat.json", heartbeat(400))
    change = watch.look()
    assert change is not None and change.runs == (RUN,) and not change.are_plans_new
    assert watch.num_read == 1
    assert watch.snapshot.status(RUN).step == 400


def test_a_change_within_the_clock_s_grain_is_not_missed(grid: LiveGrid) -> None:
    """The folder's time is the same before and after, as where a file system counts in seconds."""
    watch = watch_of(grid.out)
    now = time.time_ns()
    os.utime(grid.folder(RUN), ns=(now, now))
    watch.look()
    grid.write(RUN, "heartbeat.json", heartbeat(300))
    os.utime(grid.folder(RUN), ns=(now, now))
    change = watch.look()
    assert change is not None and change.runs == (RUN,)


def test_a_heartbeat_gets_old_without_a_file_changing(grid: LiveGrid) -> None:
    watch = watch_of(grid.out)
    watch.look()
    change = watch.look(time.time() + STALE_AFTER_S + 5)
    assert change is not None and RUN in change.runs
    assert watch.snapshot.status(RUN).state == "cut_off"
    assert watch.num_read == 0


def test_a_run_that_begins_ends_or_goes_is_told(grid: LiveGrid) -> None:
    watch = watch_of(grid.out)
    watch.look()
    grid.write("grid-1-0-0", "heartbeat.json", heartbeat(1))
    grid.write(RUN, "result.json", result(0.5))
    shutil.rmtree(grid.folder("grid-0-0-0"))
    change = watch.look()
    assert change is not None
    assert set(change.runs) == {"grid-1-0-0", RUN, "grid-0-0-0"}
    states = [watch.snapshot.status(one).state for one in ("grid-1-0-0", RUN, "grid-0-0-0")]
    assert states == ["running", "done", "new"]


def test_what_a_running_run_says_is_kept_until_it_ends(grid: LiveGrid) -> None:
    watch = watch_of(grid.out)
    watch.look()
    for step in (200, 300, 250, 350):
        grid.write(RUN, "heartbeat.json", heartbeat(step))
        watch.look()
    assert [step for step, _, _ in watch.trail(RUN)] == [102, 200, 250, 350]
    grid.write(RUN, "result.json", result(0.5))
    watch.look()
    assert watch.trail(RUN) == ()


def test_plans_appear_change_and_are_chosen(grid: LiveGrid) -> None:
    watch = watch_of(grid.out)
    watch.look()
    LiveGrid.make(grid.out, name="second", state_of=all_new)
    LiveGrid.make(grid.out, name="second", state_of=all_new, profile="short")
    change = watch.look()
    assert change is not None and change.are_plans_new and not change.runs
    assert list(watch.snapshot.studies) == ["grid", "second", "second:short"]
    for wanted, shown in (("second", ["second", "second:short"]), ("second:short",) * 2):
        one = watch_of(grid.out, wanted)
        one.look()
        assert list(one.snapshot.studies) == ([shown] if isinstance(shown, str) else shown)
    grid.write_plan(title="another", written_at="2026-11-06T00:00:00+00:00")
    watch.look()
    assert watch.snapshot.studies["grid"].plan.title == "another"


def test_a_plan_of_the_same_size_and_time_is_read_again(grid: LiveGrid) -> None:
    file = grid.out / "studies" / "grid" / "plan.json"
    now_ns = time.time_ns()
    watch = watch_of(grid.out)
    for title in ("A grid", "A plan"):
        grid.write_plan(title=title)
        os.utime(file, ns=(now_ns, now_ns))
        watch.look()
        assert watch.snapshot.studies["grid"].plan.title == title


def test_a_plan_that_could_not_be_read_is_shown_once_the_storage_is_back(
    grid: LiveGrid, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.utime(grid.out / "studies" / "grid" / "plan.json", ns=(1, 1))  # long ago: it has settled
    watch = watch_of(grid.out)

    def away(*_: object) -> None:
        raise OSError("the storage is away")

    with monkeypatch.context() as changed:
        changed.setattr(plans, "plan_of_json", away)
        watch.look()
        assert "plan.json cannot be read: the storage is away" in watch.snapshot.problems[0]
    watch.look()
    assert watch.snapshot.studies.keys() == {"grid"} and not watch.snapshot.problems


def test_of_two_places_the_plan_written_later_counts(grid: LiveGrid, tmp_path: Path) -> None:
    other = LiveGrid(tmp_path / "storage", "grid", grid.rows, grid.columns, 1)
    other.write_plan(title="later", written_at="2026-12-01T00:00:00+00:00")
    plans = PlanFolder((str(grid.out), str(other.out)))
    studies, _ = plans.read()
    assert studies["grid"].plan.title == "later"


def test_a_damaged_plan_or_file_is_named_and_hides_nothing_else(grid: LiveGrid) -> None:
    broken = grid.out / "studies" / "broken"
    broken.mkdir()
    (broken / "plan.json").write_text("{")
    grid.write(RUN, "heartbeat.json", b'{"state": "run')
    grid.write("grid-0-0-0", "result.json", b"[]")
    watch = watch_of(grid.out)
    watch.look()
    (problem,) = watch.snapshot.problems
    assert "broken/plan.json" in problem
    assert watch.snapshot.status(RUN).state == "new"
    assert watch.snapshot.status(RUN).damaged[0].startswith("heartbeat.json is damaged")
    assert watch.snapshot.status("grid-0-0-0").state == "cut_off"
    assert watch.snapshot.status("grid-0-0-1").state == "done"


def test_a_storage_that_is_away_leaves_what_was_known(
    grid: LiveGrid, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = watch_of(grid.out)
    watch.look()
    before = watch.snapshot

    def away() -> None:
        raise DashboardError("the storage is away")

    monkeypatch.setattr(watch.storage, "stamps", away)
    change = watch.look()
    assert change is not None and watch.look() is None, "it is told once"
    assert watch.snapshot.problems[0] == "the storage is away"
    assert watch.snapshot.statuses == before.statuses
    monkeypatch.undo()
    assert watch.look() is not None
    assert watch.snapshot.problems == ()


def test_nothing_outside_the_run_folders_can_be_named(grid: LiveGrid, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    storage = RunStorage(str(grid.out))
    folder = grid.folder(RUN)
    (folder / "log.txt").symlink_to(secret)
    (grid.out / "runs" / "linked").symlink_to(tmp_path)
    (folder / "predictions").symlink_to(tmp_path)
    for names in ((RUN, "log.txt"), ("linked", "secret.txt"), (RUN, "predictions", "secret.txt")):
        assert storage.read(*names) is None
    for names in (("..", "secret.txt"), (RUN, "../../../secret.txt"), (RUN, ".."), ("", "x")):
        assert storage.read(*names) is None
        assert storage.files(*names) == {}
    assert "log.txt" not in storage.files(RUN)
    assert storage.files(RUN, "predictions") == {}
    assert "linked" not in storage.stamps()
    assert storage.read(RUN, "task.json") is not None


def test_folders_of_another_file_system_are_listed_until_they_are_done(grid: LiveGrid) -> None:
    """What a store without folder times is asked for; a local one stands in for it."""
    watch = watch_of(grid.out)
    watch.storage.is_local = False
    watch.look()
    assert watch.snapshot.status("grid-0-0-0").state == "done"
    assert watch.look() is None
    grid.write(RUN, "heartbeat.json", heartbeat(500))
    change = watch.look()
    assert change is not None and change.runs == (RUN,)
    assert watch.num_read == 1


def test_ten_thousand_runs_cost_one_scan_and_the_changed_ones(ten_thousand: LiveGrid) -> None:
    settle(ten_thousand)
    watch = watch_of(ten_thousand.out)
    watch.look()
    assert watch.num_read == 8000
    assert watch.look() is None and watch.num_read == 0
    ten_thousand.write("grid-0-0-2", "heartbeat.json", heartbeat(900))
    watch.look()
    assert watch.num_read == 1
