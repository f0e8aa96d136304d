"""Runs that other launches may be at are read again in turn, and never all at once."""

import itertools

import pytest

from rml_platform.launch.scheduling import elsewhere as module
from rml_platform.launch.scheduling.elsewhere import AT_A_LOOK, Elsewhere
from rml_platform.run.run_folder import Result, RunRecord

IDS = [f"run-{number}" for number in range(5 * AT_A_LOOK)]
NEW = RunRecord(state="new")
RUNNING = RunRecord(state="running")
DONE = RunRecord(
    state="done",
    result=Result(
        evaluations=(),
        steps=1,
        seconds=1.0,
        device="cpu",
        host="host",
        num_workers=1,
        attempt=1,
        code_version="v",
        dirty=False,
        time=0.0,
    ),
)


def noted(record: RunRecord, counted: list[str]) -> Elsewhere:
    runs = Elsewhere(counted)
    for run_id in IDS:
        runs.note(run_id, record)
    return runs


def look(runs: Elsewhere, record: RunRecord, *without: str) -> list[str]:
    """What is read at one look, and found to be so."""
    read = []
    for run_id in runs.in_turn(without):
        read.append(run_id)
        runs.note(run_id, record)
    return read


@pytest.mark.parametrize("record", [NEW, RUNNING])
def test_each_has_its_turn_and_no_look_reads_many(record: RunRecord) -> None:
    runs = noted(record, IDS)
    looks = [look(runs, record) for _ in range(5)]
    assert [len(read) for read in looks] == [AT_A_LOOK] * 5
    assert sorted(itertools.chain(*looks)) == sorted(IDS)


def test_one_that_waits_is_of_interest_only_where_it_counts_whoever_trains_it() -> None:
    assert look(noted(NEW, []), NEW) == []
    assert look(noted(NEW, [IDS[7]]), NEW) == [IDS[7]]
    assert len(look(noted(RUNNING, []), RUNNING)) == AT_A_LOOK


def test_what_runs_comes_before_what_waits() -> None:
    runs = noted(NEW, IDS)
    runs.note(IDS[-1], RUNNING)
    assert look(runs, RUNNING)[0] == IDS[-1]


def test_what_is_done_and_what_is_this_launchs_is_not_read() -> None:
    runs = noted(NEW, IDS[:4])
    runs.take(IDS[:1])
    for run_id in IDS[:4]:
        runs.note(run_id, NEW)
    assert look(runs, DONE, IDS[1]) == IDS[2:4]
    assert look(runs, NEW) == [IDS[1]]
    runs.give_back(IDS[0])
    runs.note(IDS[0], NEW)
    assert sorted(look(runs, NEW)) == IDS[:2]


def test_where_reading_takes_long_a_look_reads_one_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS_OF_A_LOOK", -1)
    runs = noted(NEW, IDS)
    for run_id in IDS[:20]:
        runs.note(run_id, RUNNING)
    assert [look(runs, NEW) for _ in range(2)] == [[IDS[0], IDS[20]], [IDS[1], IDS[21]]]
