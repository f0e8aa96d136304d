"""One holder at a time: on local disks and object stores, whoever is quick, dead or late."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from pyarrow import fs

from rml_platform.run.faults import claims as module
from rml_platform.run.faults.claims import (
    Claim,
    ClaimBoard,
    FencedError,
    give_back,
    take_all,
)
from rml_platform.run.storage import Folder
from rml_platform.run.task import Process
from tests.support.platform.object_store import s3_endpoint as s3_endpoint
from tests.support.platform.object_store import s3_uri as s3_uri


def claim(launch_id: str) -> Claim:
    return Claim(launch_id=launch_id, launcher=Process.current())


def remote(path: Path) -> Folder:
    """A local folder that takes the way of an object store."""
    path.mkdir(parents=True, exist_ok=True)
    return Folder(fs.SubTreeFileSystem(str(path), fs.LocalFileSystem()), "run")


@pytest.fixture(params=["local", "remote", "s3"])
def run(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.setattr(module, "SETTLE_S", 0.0)
    if request.param == "s3":
        return Folder.open(request.getfixturevalue("s3_uri")).child("run")
    return Folder.open(tmp_path / "run") if request.param == "local" else remote(tmp_path)


def test_a_run_that_nobody_had_is_taken_and_its_holder_known(run: Folder) -> None:
    board = ClaimBoard(run)
    assert board.newest() is None
    assert board.take(claim("a"), None)
    held = ClaimBoard(run).newest()
    assert held is not None and held.claim is not None
    assert (held.claim.launch_id, held.claim.launcher) == ("a", Process.current())
    board.check()


def test_of_two_that_saw_the_same_one_gets_it(run: Folder) -> None:
    first = ClaimBoard(run)
    second = ClaimBoard(run)
    seen = first.newest()
    assert seen == second.newest()
    first.write(claim("a"), seen)
    second.write(claim("b"), seen)
    assert sorted([first.is_mine(), second.is_mine()]) == [False, True]
    held = ClaimBoard(run).newest()
    assert held is not None and held.claim is not None
    assert held.claim.launch_id == ("a" if first.is_mine() else "b")


def test_of_many_at_once_one_gets_it(run: Folder) -> None:
    boards = [ClaimBoard(run) for _ in range(16)]
    start = threading.Barrier(len(boards))

    def write(board: ClaimBoard) -> None:
        start.wait()
        board.write(claim("x"), None)

    threads = [threading.Thread(target=write, args=(board,)) for board in boards]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [board.is_mine() for board in boards].count(True) == 1


def test_a_holder_that_was_overtaken_knows_it(run: Folder) -> None:
    late = ClaimBoard(run)
    assert late.take(claim("a"), None)
    assert ClaimBoard(run).take(claim("b"), late.newest())
    assert not late.is_mine()
    with pytest.raises(FencedError):
        late.check()


def test_what_is_given_back_can_be_taken_and_is_given_back_once(run: Folder) -> None:
    board = ClaimBoard(run)
    board.take(claim("a"), None)
    give_back(ClaimBoard(run), "b")  # not its own
    held = board.newest()
    assert held is not None and held.claim is not None and not held.claim.is_given_back
    for _ in range(2):
        give_back(ClaimBoard(run), "a")
    held = board.newest()
    assert held is not None and held.claim is not None and held.claim.is_given_back
    assert held.generation == 2


def test_old_claims_do_not_pile_up(run: Folder) -> None:
    board = ClaimBoard(run)
    for _ in range(10):
        assert board.take(claim("a"), board.newest())
    assert len(run.child("claims").files()) == 2


def test_a_late_claim_of_an_old_generation_changes_nothing(run: Folder) -> None:
    late = ClaimBoard(run)
    board = ClaimBoard(run)
    for _ in range(4):
        board.take(claim("a"), board.newest())
    late.write(claim("b"), None)  # of a generation whose file is deleted by now
    assert (late.is_mine(), board.is_mine()) == (False, True)


def test_a_claim_that_cannot_be_read_is_nobodys(run: Folder) -> None:
    board = ClaimBoard(run)
    board.take(claim("a"), None)
    (name,) = run.child("claims").files()
    run.child("claims").write(name, b'{"launch_id": ')
    held = ClaimBoard(run).newest()
    assert held is not None and held.claim is None
    assert ClaimBoard(run).take(claim("b"), held)


@pytest.mark.parametrize("equal_dates", [True, False])
def test_on_an_object_store_the_first_by_its_clock_wins_then_by_name(
    tmp_path: Path, equal_dates: bool
) -> None:
    run = remote(tmp_path)
    boards = [ClaimBoard(run), ClaimBoard(run)]
    for board in boards:
        board.write(claim("x"), None)
    files = sorted((tmp_path / "run" / "claims").iterdir())
    for order, file in enumerate(reversed(files)):
        seconds = 100 if equal_dates else 100 + order
        os.utime(file, (seconds, seconds))
    winner = files[0] if equal_dates else files[-1]
    assert [board.is_mine() for board in boards] == [b._mine == winner.name for b in boards]
    assert any(board.is_mine() for board in boards)


def test_many_runs_are_taken_with_one_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    boards = [ClaimBoard(remote(tmp_path).child(str(i))) for i in range(5)]
    boards[2].write(claim("other"), None)
    other = boards[2].newest()
    wanted = [(board, claim("a"), other if board is boards[2] else None) for board in boards]
    assert take_all(wanted) == [True] * 5
    assert pauses == [module.SETTLE_S]


def test_a_file_system_without_links_is_exclusive_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(source: object, target: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refused)
    run = Folder.open(tmp_path)
    assert ClaimBoard(run).take(claim("a"), None)
    assert not ClaimBoard(run).take(claim("b"), None)


TAKE = """
import sys
from rml_platform.run.faults.claims import Claim, ClaimBoard, take_all
from rml_platform.run.storage import Folder
from rml_platform.run.task import Process

boards = [ClaimBoard(Folder.open(sys.argv[1]).child("runs", str(run))) for run in range(6)]
claim = Claim(launch_id=sys.argv[2], launcher=Process.current())
seen = [board.newest() for board in boards]
print("ready", flush=True)
sys.stdin.readline()
print(*(int(mine) for mine in take_all((b, claim, s) for b, s in zip(boards, seen))))
"""


def test_processes_that_race_on_an_object_store_share_the_runs(s3_uri: str) -> None:
    """With the pause that a store is given: no run has two holders, and none is left out."""
    launches = [
        subprocess.Popen(
            [sys.executable, "-c", TAKE, s3_uri, f"launch-{number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    for launch in launches:
        assert launch.stdout is not None and launch.stdout.readline() == "ready\n"
    taken = [launch.communicate("go\n")[0].split() for launch in launches]
    assert [sum(map(int, by_launch)) for by_launch in zip(*taken, strict=True)] == [1] * 6
