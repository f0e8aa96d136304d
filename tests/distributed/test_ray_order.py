"""A launch on a real local Ray hears what people ask while it runs: order, and runs that are
cancelled; a run waits for room as long as its study says."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from ray import cloudpickle

import tests.support.platform.fake_trainer
from rml_platform.launch.scheduling.turns import Place, Turns
from rml_platform.launch.scheduling.wishes import (
    LiveWishes,
    Wishes,
    with_cancelled,
    with_priority,
    write_wishes,
)
from rml_platform.launch.session.ray_session import ray_session
from rml_platform.run.run_folder import RunFolder
from rml_platform.study.retry_config import RetryConfig
from rml_trainers.config import ScheduleConfig
from rml_trainers.data.prepared.cache import PreparedData
from tests.support.platform.fake_trainer import SLOW, FakeTrainer
from tests.support.platform.tasks import fake_config, task_for

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]
ROWS = "ABC"


@pytest.fixture(autouse=True)
def ray() -> Iterator[None]:
    cloudpickle.register_pickle_by_value(tests.support.platform.fake_trainer)
    with ray_session(None, with_train=False, num_cpus=1):
        yield
    cloudpickle.unregister_pickle_by_value(tests.support.platform.fake_trainer)


def wait_until(happened: Callable[[], bool]) -> None:
    while not happened():
        time.sleep(0.05)


def test_wishes_reach_the_launch_that_runs(tiny_data: PreparedData, tmp_path: Path) -> None:
    """A runs; it is cancelled, B too, and C is put before what was to come next."""
    from rml_platform.launch.on_ray.sweep import sweep

    places = {
        f"{row}{seed}": (Place("s", (row,), seed, 2 * i + seed),)
        for i, row in enumerate(ROWS)
        for seed in (0, 1)
    }
    long = replace(fake_config(SLOW), schedule=ScheduleConfig(warm_up_steps=60, stage_steps=()))
    tasks = [
        task_for(long if run_id == "A0" else fake_config(0), tiny_data, tmp_path, run_id)
        for run_id in places
    ]
    folders = {run_id: RunFolder.of(str(tmp_path), run_id) for run_id in places}

    def ask() -> None:
        wait_until(lambda: folders["A0"].record().state == "running")
        wishes = with_priority(with_cancelled(Wishes(), ["A0", "B0"]), "C", 1, in_file=0)
        write_wishes(str(tmp_path), "s", None, wishes)
        folders["A0"].request_cancel(at_checkpoint=True)

    asking = threading.Thread(target=ask)
    asking.start()
    wishes = LiveWishes(str(tmp_path), "s", None, dict.fromkeys(ROWS, 0), pytest.fail)
    turns = Turns(places, {"s": wishes})
    lost = sweep(tasks, max_concurrent=1, trainer_class=FakeTrainer, turns=turns)
    asking.join()
    records = {run_id: folder.record() for run_id, folder in folders.items()}
    states = {run_id: record.state for run_id, record in records.items()}
    assert lost == {}
    assert states == {
        "A0": "cancelled",
        "B0": "new",
        **dict.fromkeys(("C0", "A1", "B1", "C1"), "done"),
    }
    stopped = records["A0"]
    assert stopped.heartbeat is not None
    assert stopped.heartbeat.checkpoint_step == stopped.heartbeat.step < 60, "no step is lost"
    results = {i: record.result.time for i, record in records.items() if record.result}
    assert sorted(results, key=lambda run_id: results[run_id]) == ["C0", "C1", "A1", "B1"]
    assert turns.reasons(()) == {"B0": "cancelled"}


def test_a_run_that_waits_for_room_hears_that_it_is_cancelled(
    tiny_data: PreparedData, tmp_path: Path
) -> None:
    """It asks for more cores than there are, as on a cluster that has to grow for it."""
    from rml_platform.launch.on_ray.placement_groups import is_any_waiting
    from rml_platform.launch.on_ray.sweep import sweep

    large = replace(task_for(fake_config(0), tiny_data, tmp_path, "A0"), cpus_per_worker=2)

    def ask() -> None:
        wait_until(is_any_waiting)
        write_wishes(str(tmp_path), "s", None, with_cancelled(Wishes(), ["A0"]))

    asking = threading.Thread(target=ask)
    asking.start()
    wishes = LiveWishes(str(tmp_path), "s", None, dict.fromkeys(ROWS, 0), pytest.fail)
    turns = Turns({"A0": (Place("s", ("A",), 0, 0),)}, {"s": wishes})
    said: list[str] = []
    assert sweep([large], on_note=said.append, trainer_class=FakeTrainer, turns=turns) == {}
    asking.join()
    assert said == ["A0 waits for room no longer: cancelled"]
    assert turns.reasons(()) == {"A0": "cancelled"}
    assert RunFolder.of(str(tmp_path), "A0").record().state == "new"
    assert not is_any_waiting()


def test_a_run_without_room_ends_where_its_study_says(
    tiny_data: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks for more cores than there are; a smaller one gets its turn meanwhile."""
    from rml_platform.launch.on_ray import withdrawal
    from rml_platform.launch.on_ray.placement_groups import is_any_waiting
    from rml_platform.launch.on_ray.sweep import sweep

    monkeypatch.setattr(withdrawal, "LOOK_EVERY_S", 0.1)
    monkeypatch.setattr(withdrawal, "ROOM_WITHIN_S", 1.0)
    small = task_for(fake_config(0), tiny_data, tmp_path, "small")
    large = replace(small, run_id="large", cpus_per_worker=2)
    said: list[str] = []
    lost = sweep(
        [large, small],
        max_concurrent=1,
        rules=RetryConfig(no_room=2),
        on_note=said.append,
        trainer_class=FakeTrainer,
    )
    assert list(lost) == ["large"]
    assert "3 times in this launch (no room)" in lost["large"]
    assert "large is tried again after step 0 (no room)" in said
    states = {name: RunFolder.of(str(tmp_path), name).record().state for name in ("large", "small")}
    assert states == {"large": "new", "small": "done"}
    assert not is_any_waiting()
