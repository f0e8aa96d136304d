"""What the monkey of `rml chaos` draws."""

import contextlib
import dataclasses
import re
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from rml_platform.chaos.arena import Arena, MissedError, StuckError
from rml_platform.chaos.checks.tally import Account
from rml_platform.chaos.faults.catalogue import FAULTS
from rml_platform.chaos.faults.fault import GROUNDS
from rml_platform.chaos.faults.files import DAMAGES
from rml_platform.chaos.monkey import (
    MOST_FAULTS,
    ChaosError,
    Draw,
    Monkey,
    draw_rounds,
    planned_runs,
    possible,
    strike_all,
)
from rml_platform.study.schema import load_study
from rml_trainers.errors import ConfigError, RmlError
from tests.support.platform.plans import written
from tests.support.platform.studies import write_study


def test_a_seed_always_draws_the_same_rounds() -> None:
    first = list(draw_rounds(list(FAULTS), GROUNDS, rounds=20, seed=3))
    assert first == list(draw_rounds(list(FAULTS), GROUNDS, rounds=20, seed=3))
    assert first != list(draw_rounds(list(FAULTS), GROUNDS, rounds=20, seed=4))
    assert first[:7] == list(draw_rounds(list(FAULTS), GROUNDS, rounds=7, seed=3))


def test_every_fault_comes_where_it_can_be_done() -> None:
    draws = list(draw_rounds(list(FAULTS), GROUNDS, rounds=len(FAULTS), seed=0))
    seen = Counter(name for draw in draws for name in draw.faults)
    assert seen.keys() == FAULTS.keys()
    for draw in draws:
        assert 1 <= len(draw.faults) <= MOST_FAULTS
        assert len(set(draw.faults)) == len(draw.faults)
        assert all(draw.grounds in FAULTS[name].grounds for name in draw.faults)
        assert list(draw.moments) == sorted(draw.moments, key=lambda moment: moment[0])


def test_faults_that_cannot_be_done_are_told() -> None:
    with pytest.raises(ConfigError, match="node-killed"):
        list(draw_rounds(["node-killed"], ["process"], rounds=1, seed=0))


@pytest.mark.parametrize(("first", "rounds"), [((), 2), (("disk-full",), 1)])
def test_a_round_in_which_nothing_was_done_is_played_again_and_sooner(
    first: tuple[str, ...], rounds: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once: a fault may find nothing to strike however soon it comes."""
    played: list[Draw] = []

    def play_one(self: Monkey, draw: Draw, *_: object) -> Account:
        played.append(draw)
        return Account(number=1, grounds=draw.grounds, faults=draw.faults, done=first)

    monkeypatch.setattr(Monkey, "undisturbed", lambda self: {})
    monkeypatch.setattr(Monkey, "_round", play_one)
    monkey = Monkey(study=tmp_path, out=tmp_path)
    (account,) = monkey.play(["disk-full"], ["process"], rounds=1, seed=0)
    assert account.done == first
    assert len(played) == rounds
    assert played[0].moments[0][0] > 0
    assert all(draw.moments == ((0.0, "disk-full"),) for draw in played[1:])


def test_nothing_is_done_to_somebody_elses_cluster() -> None:
    broken = {name for name, fault in FAULTS.items() if not possible(fault, "auto")}
    of_nodes = {name for name, fault in FAULTS.items() if fault.grounds == ("cluster",)}
    assert broken == of_nodes - {"controller-killed", "controller-crashed"} | {"worker-locked"}
    assert all(possible(fault, None) for fault in FAULTS.values())


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("content", [b'{"a": 1}', b"[1, 2]", bytes(range(64))])
def test_a_damaged_file_is_another_one(damage: object, content: bytes) -> None:
    assert callable(damage)
    assert all(damage(content, Random(seed)) != content for seed in range(20))


def test_a_study_that_fails_by_itself_is_refused(tmp_path: Path) -> None:
    study = tmp_path / "study.yaml"
    study.write_text("name: no study\n")
    monkey = Monkey(study=study, out=tmp_path / "out")
    with pytest.raises(ChaosError, match="does not come to its end when it is left alone"):
        monkey.undisturbed()


def test_runs_of_a_study_that_was_another_one_do_not_count(tmp_path: Path) -> None:
    study = load_study(write_study(tmp_path), (), None)
    plan = written(study, tmp_path / "out")
    (tmp_path / "out" / "runs" / "of-another-day").mkdir(parents=True)
    assert planned_runs(tmp_path / "out") == [run.run_id for run in plan.runs]
    assert planned_runs(tmp_path / "nothing") == []


@pytest.mark.parametrize(
    ("error", "done", "said"),
    [
        (None, ["worker-killed"], ["worker-killed: struck"]),
        (MissedError("nobody is there"), [], ["worker-killed: not done, nobody is there"]),
        (StuckError("it hangs"), ["worker-killed"], []),
    ],
    ids=["struck", "missed", "stuck"],
)
def test_a_fault_that_found_nothing_to_strike_was_not_done(
    error: RmlError | None,
    done: list[str],
    said: list[str],
    idle_arena: Arena,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def do(arena: Arena, rng: Random) -> str:
        if error is not None:
            raise error
        return "struck"

    monkeypatch.setattr(Arena, "launch", lambda self: None)
    monkeypatch.setattr(Arena, "until", lambda self, moment: moment < 1)
    fault = dataclasses.replace(FAULTS["worker-killed"], strike=do)
    monkeypatch.setitem(FAULTS, "worker-killed", fault)
    draw = Draw(1, "process", ((0.5, "worker-killed"),), Random(0))
    with contextlib.suppress(StuckError):
        strike_all(idle_arena, draw)
    assert (idle_arena.faults_done, idle_arena.struck) == (done, said)


def test_a_fault_that_comes_too_late_was_not_done(
    idle_arena: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Arena, "launch", lambda self: None)
    monkeypatch.setattr(Arena, "until", lambda self, moment: False)
    strike_all(idle_arena, Draw(1, "process", ((0.5, "worker-killed"),), Random(0)))
    assert not idle_arena.faults_done
    assert idle_arena.struck == ["worker-killed: not done, the study had come to its end"]


def test_the_documentation_says_of_every_fault_what_survives() -> None:
    page = (Path(__file__).parents[4] / "docs" / "cluster.md").read_text()
    section = page.split("## What survives")[1].split("\n## ")[0]
    firsts = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    told = [name for cell in firsts for name in re.findall(r"`([a-z-]+)`", cell)]
    assert sorted(told) == sorted(FAULTS)
