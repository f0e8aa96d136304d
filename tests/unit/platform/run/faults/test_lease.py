"""Who is behind a claim: living, dead, or on another machine."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rml_platform.run.faults.claims import Claim
from rml_platform.run.faults.lease import (
    DEAD_AFTER_S,
    LONGEST_GAP_S,
    ORPHANS_LEAVE_S,
    RENEW_EVERY_S,
    Watchman,
    lease,
)
from rml_platform.run.task import Process

HERE = Process.current()
DEAD = replace(HERE, pid=2**22 - 1, started="1")
FAR = replace(HERE, host="elsewhere")


@pytest.fixture
def pass_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """A clock that goes on when it is told to."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def pass_time(seconds: float) -> None:
        now[0] += seconds

    return pass_time


def claim(launcher: Process, worker: Process | None = None) -> Claim:
    return Claim(launch_id="a", launcher=launcher, worker=worker)


def test_nobody_is_behind_a_claim_that_was_given_back_or_is_damaged(tmp_path: Path) -> None:
    watchman = Watchman(str(tmp_path))
    assert watchman.is_free(None)
    assert watchman.is_free(replace(claim(HERE), is_given_back=True))


@pytest.mark.parametrize("worker", [None, HERE, DEAD, FAR])
def test_a_living_launcher_of_this_machine_is_alive_however_long_it_is_silent(
    tmp_path: Path, worker: Process | None, pass_time: Callable[[float], None]
) -> None:
    watchman = Watchman(str(tmp_path))
    for _ in range(3):
        assert not watchman.is_free(claim(HERE, worker))
        pass_time(10 * DEAD_AFTER_S)


@pytest.mark.parametrize("worker", [None, DEAD, FAR])
def test_a_launcher_that_is_gone_is_dead_at_once(tmp_path: Path, worker: Process | None) -> None:
    assert Watchman(str(tmp_path)).is_free(claim(DEAD, worker))


def test_a_worker_that_outlives_its_launcher_is_waited_for_but_not_for_ever(
    tmp_path: Path, pass_time: Callable[[float], None]
) -> None:
    watchman = Watchman(str(tmp_path))
    assert not watchman.is_free(claim(DEAD, HERE))
    for _ in range(29):
        pass_time(ORPHANS_LEAVE_S / 30)
        assert not watchman.is_free(claim(DEAD, HERE))
    pass_time(ORPHANS_LEAVE_S / 30)
    assert watchman.is_free(claim(DEAD, HERE))


def test_a_worker_is_not_given_up_over_a_time_in_which_nobody_looked(
    tmp_path: Path, pass_time: Callable[[float], None]
) -> None:
    watchman = Watchman(str(tmp_path))
    assert not watchman.is_free(claim(DEAD, HERE))
    pass_time(100 * ORPHANS_LEAVE_S)
    assert not watchman.is_free(claim(DEAD, HERE))


def test_a_launch_on_another_machine_is_dead_when_its_sign_of_life_stops(
    tmp_path: Path, pass_time: Callable[[float], None]
) -> None:
    watchman = Watchman(str(tmp_path))
    sign = tmp_path / "launches" / "a.json"
    with lease(str(tmp_path), "a", every_s=0.001):
        for _ in range(3):
            assert not watchman.is_free(claim(FAR))
            pass_time(DEAD_AFTER_S)
            before = sign.read_bytes()
            while sign.read_bytes() == before:
                pass
        assert not watchman.is_free(claim(FAR))
    sign.write_bytes(before)  # as a launcher that was killed leaves it
    assert not watchman.is_free(claim(FAR))
    assert watched_until_free(watchman, pass_time) == DEAD_AFTER_S


def test_a_launch_on_another_machine_without_any_sign_is_dead_after_a_while(
    tmp_path: Path, pass_time: Callable[[float], None]
) -> None:
    watchman = Watchman(str(tmp_path))
    assert not watchman.is_free(claim(FAR))
    assert watched_until_free(watchman, pass_time) == DEAD_AFTER_S


def test_time_in_which_nobody_could_look_does_not_count(
    tmp_path: Path, pass_time: Callable[[float], None]
) -> None:
    watchman = Watchman(str(tmp_path))
    sign = tmp_path / "launches" / "a.json"
    sign.parent.mkdir()
    sign.write_bytes(b"1")
    assert not watchman.is_free(claim(FAR))
    pass_time(10 * DEAD_AFTER_S)  # the storage is away
    assert not watchman.is_free(claim(FAR)), "it could not renew its sign either"
    pass_time(RENEW_EVERY_S)
    assert not watchman.is_free(claim(FAR))
    sign.write_bytes(b"2")
    assert not watchman.is_free(claim(FAR))
    assert watched_until_free(watchman, pass_time) == DEAD_AFTER_S


def watched_until_free(watchman: Watchman, pass_time: Callable[[float], None]) -> float:
    """Seconds of looking at a launch elsewhere until it counts as dead."""
    seconds = 0.0
    while not watchman.is_free(claim(FAR)):
        pass_time(LONGEST_GAP_S)
        seconds += LONGEST_GAP_S
    return seconds


def test_a_launch_that_ends_leaves_no_sign(tmp_path: Path) -> None:
    with lease(str(tmp_path), "a"):
        assert [path.name for path in (tmp_path / "launches").iterdir()] == ["a.json"]
    assert not list((tmp_path / "launches").iterdir())
