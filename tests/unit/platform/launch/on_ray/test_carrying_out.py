"""When a launch begins to start Ray before it needs it; Ray itself is tested under distributed/."""

import errno
import functools
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rml_platform.launch.on_ray import carrying_out
from rml_platform.launch.output_layout import OutputLayout
from rml_platform.launch.scheduling.turns import Judge, Turns
from rml_platform.launch.session import gpu_locks
from rml_platform.launch.sizing import task_of
from rml_platform.planning.machine import Machine
from rml_platform.planning.plan import Plan, make_plan
from rml_platform.run.task import RunTask
from rml_platform.study.schema import load_study
from rml_platform.study.study_file import ResourcesConfig
from tests.support.platform.studies import SMALLEST, write_study

HEAD = """\
name: tiny
execution: direct
"""
REST = """\
  schedule: {warm_up_steps: 5, stage_steps: []}
seeds: [1, 2]
"""
STUDY = HEAD + SMALLEST + REST
AWAY = os.strerror(errno.ESTALE)
"""What is said of a storage that does not answer."""


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    study = load_study(write_study(tmp_path, STUDY))
    return make_plan(study, data_root=None, cache_root=tmp_path / "cache")


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Sizes of the local Rays that were begun."""
    sizes: list[Any] = []

    class FakeRay:
        is_closed = False

        def __init__(self, **size: Any) -> None:
            self.size = size
            sizes.append(size)

        def wait_begun(self) -> None: ...

        def close(self) -> None:
            self.size["gpus"].release()

    monkeypatch.setattr(carrying_out, "LocalRay", FakeRay)
    return sizes


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(gpu_locks.VISIBLE, raising=False)
    monkeypatch.setattr(gpu_locks, "SHORT", tmp_path)
    monkeypatch.setattr(Machine, "here", lambda: Machine(cores=4, gpus=2))


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize("taken", [[], ["0"], ["0", "1"]])
def test_ray_is_begun_before_it_is_needed_only_with_all_gpus(
    taken: list[str], plan: Plan, begun: list[Any], tmp_path: Path
) -> None:
    other = gpu_locks.take_free(taken)
    with carrying_out.ray_ahead([plan], str(tmp_path), True) as ray:
        assert (ray is None) is bool(taken)
        assert [size["gpus"].names for size in begun] == ([] if taken else [("0", "1")])
        assert gpu_locks.take_free(["1"]).names == (("1",) if taken == ["0"] else ())
    other.release()
    free = gpu_locks.take_free(["0", "1"])
    assert free.names == ("0", "1")
    free.release()


@pytest.mark.usefixtures("two_gpus")
def test_a_study_without_gpus_takes_none(begun: list[Any], tmp_path: Path) -> None:
    study = load_study(write_study(tmp_path, STUDY), ("resources.gpus_per_worker=0",))
    plan = make_plan(study, data_root=None, cache_root=tmp_path / "cache")
    with carrying_out.ray_ahead([plan], str(tmp_path), True):
        assert begun[0]["gpus"].names == ()


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    "given, max_concurrent, at_once",
    [
        ((), None, 2),
        (("resources.gpus_per_worker=0",), None, 2),
        (("resources.gpus_per_worker=0", "resources.cpus_per_worker=4"), None, 1),
        ((), 1, 1),
        (("seeds=[1]",), None, 1),
        (("seeds=[1, 2, 3, 4, 5, 6]", "resources.gpus_per_worker=0"), None, 4),
        (("seeds=[1, 2, 3, 4, 5, 6]",), 5, 2),
    ],
)
def test_ray_is_told_how_many_runs_there_will_be_at_once(
    given: tuple[str, ...],
    max_concurrent: int | None,
    at_once: int,
    begun: list[Any],
    tmp_path: Path,
) -> None:
    study = load_study(write_study(tmp_path, STUDY), given)
    plan = make_plan(study, data_root=None, cache_root=tmp_path / "cache")
    with carrying_out.ray_ahead([plan], str(tmp_path), True, max_concurrent):
        assert begun[0]["at_once"] == at_once


@pytest.mark.usefixtures("two_gpus")
def test_no_more_gpus_are_held_than_the_runs_can_use(
    plan: Plan, begun: list[Any], tmp_path: Path
) -> None:
    with carrying_out.ray_ahead([plan], str(tmp_path), True, 1):
        assert begun[-1]["gpus"].names == ("0",)
        other = gpu_locks.take_free(["0", "1"])
        assert other.names == ("1",), "for the next launch"
        other.release()
    (tmp_path / "runs" / plan.runs[0].run_id).mkdir(parents=True)
    (tmp_path / "runs" / plan.runs[0].run_id / "result.json").touch()
    other = gpu_locks.take_free(["0"])
    with carrying_out.ray_ahead([plan], str(tmp_path), True) as ray:
        assert ray is not None, "one run is left, and a GPU for it"
        assert begun[-1]["gpus"].names == ("1",)
    other.release()


@pytest.mark.parametrize(
    ("resources", "num_runs", "max_concurrent", "gpus"),
    [
        ({}, 1, None, 1),
        ({}, 3, 2, 2),
        ({}, 20, None, 8),
        ({"workers": 2}, 3, None, 6),
        ({"gpus_per_worker": 2}, 2, 1, 2),
        ({"gpus_per_worker": 0.4}, 3, None, 2),
        ({"gpus_per_worker": 0.3}, 3, None, 1),
        ({"gpus_per_worker": 0}, 3, None, 0),
    ],
)
def test_gpus_of_use_are_those_of_the_runs_that_can_be_under_way_at_once(
    resources: dict[str, Any],
    num_runs: int,
    max_concurrent: int | None,
    gpus: int,
    plan: Plan,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Machine, "here", lambda: Machine(cores=64, gpus=8))
    study = replace(plan.study, resources=ResourcesConfig(**resources))
    assert carrying_out._gpus_of_use([study] * num_runs, max_concurrent) == gpus


@pytest.mark.usefixtures("two_gpus")
def test_a_launch_with_one_run_leaves_the_other_gpu_to_the_next(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[tuple[str, ...]] = []

    class Begun(Exception):
        """Ray is started."""

    def begin(address: str | None, **size: Any) -> None:
        held.append(size["gpus"].names)
        size["gpus"].release()
        raise Begun

    monkeypatch.setattr(carrying_out, "ray_session", begin)
    layout = OutputLayout(root=tmp_path, storage=str(tmp_path))
    tasks = [task_of(run, "tiny", layout, None, "launch-1") for run in plan.runs]
    for own, most in ((tasks[:1], None), (tasks, 1), (tasks, None)):
        with pytest.raises(Begun):
            carrying_out.on_ray(None)(
                own,
                turns=Turns(),
                studies={"tiny": plan.study},
                address=None,
                max_concurrent=most,
                ship=False,
                trainer_class=None,
                on_note=pytest.fail,
            )
    assert held == [("0",), ("0",), ("0", "1")]


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize("reason", ["", "the deadline has passed", AWAY])
def test_a_launch_waits_for_a_gpu_as_long_as_a_run_may_start(
    reason: str, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Begun(Exception):
        """Ray is started."""

    def begin(address: str | None, **size: Any) -> None:
        held = size["gpus"]
        held.release()
        raise Begun(held.names)

    monkeypatch.setattr(carrying_out, "ray_session", begin)
    other = gpu_locks.take_free(["0", "1"])
    monkeypatch.setattr(gpu_locks, "_wait", other.release)
    layout = OutputLayout(root=tmp_path, storage=str(tmp_path))
    tasks = [task_of(run, "tiny", layout, None, "launch-1") for run in plan.runs]

    def gate(under_way: Sequence[RunTask], started: RunTask | None) -> Judge:
        if reason == AWAY:
            raise OSError(errno.ESTALE, reason)
        return lambda task, without=(): reason

    turns = Turns(gate=gate)
    said: list[str] = []
    carry_out = functools.partial(
        carrying_out.on_ray(None),
        tasks,
        turns=turns,
        studies={"tiny": plan.study},
        address=None,
        max_concurrent=None,
        ship=False,
        trainer_class=None,
        on_note=said.append,
    )
    if reason not in ("", AWAY):
        assert carry_out() == {}
        assert set(turns.reasons(()).values()) == {reason}
        other.release()
    else:
        with pytest.raises(Begun, match=r"0.*1"):
            carry_out()
        assert "waiting for 1 GPU of this machine: another launch of yours" in said[0]


def test_ray_is_begun_only_where_a_run_is_left(
    plan: Plan, begun: list[Any], tmp_path: Path
) -> None:
    ahead = functools.partial(carrying_out.ray_ahead, [plan], str(tmp_path))
    with ahead(False) as ray:
        assert (ray, begun) == (None, [])
    with ahead(True) as ray:
        assert (begun[0]["with_train"], len(begun)) == (False, 1)
    assert ray is not None
    for run_id in (run.run_id for run in plan.runs):
        (tmp_path / "runs" / run_id).mkdir(parents=True)
        (tmp_path / "runs" / run_id / "result.json").touch()
    with ahead(True) as ray:
        assert (ray, len(begun)) == (None, 1)
