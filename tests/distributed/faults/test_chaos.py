"""Rounds of `rml chaos` over a grid of seconds: whatever is done to it, nothing is lost, done
twice, changed or left behind. `make chaos` plays many."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from rml_platform.chaos.checks.tally import render
from rml_platform.chaos.monkey import Monkey

STUDY = Path(__file__).with_name("scenes.yaml")
SHORT = (
    *("--set", "schedule.warm_up_steps=20", "--set", "schedule.stage_steps=[20]"),
    *("--set", "runtime.log_every_steps=5", "--set", "runtime.checkpoint_every_steps=10"),
)


def play(out: Path, faults: Sequence[str], grounds: Sequence[str], seed: int) -> None:
    """One round, which has to be in order, and in which something was done."""
    monkey = Monkey(study=STUDY, out=out, options=SHORT)
    (account,) = monkey.play(faults, grounds, rounds=1, seed=seed)
    assert account.is_clean, render([account])
    assert account.done, account.struck


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of several tests, so that the study is left alone once."""
    return tmp_path_factory.mktemp("chaos")


@pytest.mark.timeout(600)
def test_a_launch_that_is_killed_over_damaged_files(out: Path) -> None:
    """Without Ray."""
    play(out, ["launch-killed", "checkpoint-damaged", "heartbeat-damaged"], ["process"], seed=5)


@pytest.mark.ray
@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_cluster_that_loses_a_node(out: Path) -> None:
    play(out, ["node-back"], ["cluster"], seed=0)
