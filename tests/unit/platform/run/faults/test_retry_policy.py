"""Decisions over the facts of a run, and the classes of failures."""

import pytest

from rml_platform.run.faults.retry_policy import (
    RETRY_BUDGET,
    Decision,
    FailureClass,
    RunFacts,
    classify,
    decide,
    retries_left,
)


@pytest.mark.parametrize(
    ("facts", "decision"),
    [
        (RunFacts(), Decision.RUN),
        (RunFacts(has_checkpoint=True), Decision.RESUME),
        (RunFacts(alive=True), Decision.SKIP_RUNNING),
        (RunFacts(alive=True, has_checkpoint=True), Decision.SKIP_RUNNING),
        (RunFacts(finished=True), Decision.SKIP_DONE),
        (RunFacts(finished=True, alive=True, failures=(FailureClass.LOST,)), Decision.SKIP_DONE),
        (RunFacts(failures=(FailureClass.LOST,)), Decision.RETRY),
        (RunFacts(failures=(FailureClass.LOST,), has_checkpoint=True), Decision.RETRY),
        (RunFacts(failures=(FailureClass.CONFIG,)), Decision.GIVE_UP),
        (RunFacts(failures=(FailureClass.NON_FINITE,), has_checkpoint=True), Decision.GIVE_UP),
        (RunFacts(failures=(FailureClass.CANCELLED,)), Decision.GIVE_UP),
    ],
)
def test_decisions(facts: RunFacts, decision: Decision) -> None:
    assert decide(facts) is decision


@pytest.mark.parametrize("kind", FailureClass)
def test_each_kind_has_a_budget_and_ends(kind: FailureClass) -> None:
    failures: tuple[FailureClass, ...] = ()
    retries = -1
    while retries < 100:
        failures += (kind,)
        retries += 1
        if decide(RunFacts(failures=failures)) is Decision.GIVE_UP:
            break
    assert retries == RETRY_BUDGET[kind]


def test_budgets_are_separate() -> None:
    lost = FailureClass.LOST
    memory = FailureClass.OUT_OF_MEMORY
    assert decide(RunFacts(failures=(lost, lost, lost, memory))) is Decision.RETRY
    assert decide(RunFacts(failures=(memory, lost, memory))) is Decision.GIVE_UP
    assert retries_left((lost, memory, lost)) == RETRY_BUDGET[lost] - 1
    assert retries_left(()) == 0


@pytest.mark.parametrize(
    ("types", "text", "kind"),
    [
        (("ConfigError",), "lr = -1", FailureClass.CONFIG),
        (("RayTaskError", "DataError"), "corrupt image", FailureClass.DATA),
        (("DataError",), "cannot write: the disk is full; free some space", FailureClass.DISK_FULL),
        (("OSError",), "[Errno 28] No space left on device", FailureClass.DISK_FULL),
        (("NonFiniteLossError",), "the loss became nan", FailureClass.NON_FINITE),
        (("RuntimeError", "OutOfMemoryError"), "CUDA out of memory", FailureClass.OUT_OF_MEMORY),
        (("RuntimeError",), "CUDA error: out of memory", FailureClass.OUT_OF_MEMORY),
        (
            ("ActorDiedError",),
            "killed due to the node running low on memory (OOM)",
            FailureClass.OUT_OF_MEMORY,
        ),
        (("CheckpointError",), "manifest.json is missing", FailureClass.CHECKPOINT),
        (("WorkerGroupError", "ActorDiedError"), "The actor died unexpectedly", FailureClass.LOST),
        (("RuntimeError",), "[gloo] Connection closed by peer", FailureClass.LOST),
        (("DistBackendError",), "NCCL communicator was aborted", FailureClass.LOST),
        (("ActorDiedError", "ConfigError"), "lr = -1", FailureClass.CONFIG),
        (("Cancelled",), "cancelled at step 3 of 8", FailureClass.CANCELLED),
        (("ZeroDivisionError",), "division by zero", FailureClass.UNKNOWN),
        ((), "", FailureClass.UNKNOWN),
    ],
)
def test_failures_are_told_apart(types: tuple[str, ...], text: str, kind: FailureClass) -> None:
    assert classify(types, text) is kind
