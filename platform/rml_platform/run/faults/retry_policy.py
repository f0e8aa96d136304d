"""What to do with a run: pure functions from facts to a decision. The launcher gathers the facts
and obeys.

A failure that cannot get better by itself (a wrong configuration, a damaged image, a loss that
became NaN) is never retried: the run is deterministic and would fail again. What the machine did to
a run (a lost worker, memory taken by somebody else) is retried, each kind with a budget of its own.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Decision(StrEnum):
    """What the launcher does with a run now."""

    RUN = "run"
    """Start from the first step."""
    RESUME = "resume"
    """Go on from the newest sound checkpoint."""
    SKIP_DONE = "skip_done"
    SKIP_RUNNING = "skip_running"
    """Another process is at it: its heartbeat is fresh."""
    RETRY = "retry"
    """It failed in this launch, and trying again makes sense (from its checkpoint if there is
    one)."""
    GIVE_UP = "give_up"


class FailureClass(StrEnum):
    """Why a run failed, as far as it matters for trying again."""

    CONFIG = "config"
    DATA = "data"
    NON_FINITE = "non_finite"
    OUT_OF_MEMORY = "out_of_memory"
    DISK_FULL = "disk_full"
    CHECKPOINT = "checkpoint"
    LOST = "lost"
    """Worker process, actor or node died, or the connection to it."""
    CANCELLED = "cancelled"
    """A person stopped it."""
    UNKNOWN = "unknown"


RETRY_BUDGET: Mapping[FailureClass, int] = MappingProxyType(
    {
        FailureClass.CONFIG: 0,
        FailureClass.DATA: 0,
        FailureClass.NON_FINITE: 0,
        # a neighbour on the same device may have gone; our own need does not shrink
        FailureClass.OUT_OF_MEMORY: 1,
        FailureClass.DISK_FULL: 0,
        FailureClass.CHECKPOINT: 2,  # each retry falls back to an older checkpoint; two are kept
        FailureClass.LOST: 5,  # preempted nodes are ordinary on a shared cluster
        FailureClass.CANCELLED: 0,
        FailureClass.UNKNOWN: 1,
    }
)
"""Retries per kind of failure within one launch. A new launch starts afresh: a person asked for
it."""

_BY_ERROR_TYPE = {
    "ConfigError": FailureClass.CONFIG,
    "DeviceError": FailureClass.CONFIG,
    "DataError": FailureClass.DATA,
    "NonFiniteLossError": FailureClass.NON_FINITE,
    "Cancelled": FailureClass.CANCELLED,
    "CheckpointError": FailureClass.CHECKPOINT,
    "OutOfMemoryError": FailureClass.OUT_OF_MEMORY,
    "MemoryError": FailureClass.OUT_OF_MEMORY,
    "WorkerCrashedError": FailureClass.LOST,
    "ActorDiedError": FailureClass.LOST,
    "ActorUnavailableError": FailureClass.LOST,
    "RayActorError": FailureClass.LOST,
    "NodeDiedError": FailureClass.LOST,
    "WorkerHealthCheckTimeoutError": FailureClass.LOST,
    "WorkerHealthCheckFailedError": FailureClass.LOST,
    "WorkerGroupStartupTimeoutError": FailureClass.LOST,
    "WorkerGroupStartupFailedError": FailureClass.LOST,
    "ObjectLostError": FailureClass.LOST,
    "OwnerDiedError": FailureClass.LOST,
    "ConnectionResetError": FailureClass.LOST,
    "BrokenPipeError": FailureClass.LOST,
}
_BY_MESSAGE = (
    (re.compile(r"out of memory|OOM|memory pressure", re.IGNORECASE), FailureClass.OUT_OF_MEMORY),
    (
        re.compile(r"no space left on device|disk (is )?full|disk quota|ENOSPC", re.IGNORECASE),
        FailureClass.DISK_FULL,
    ),
    # What gloo and NCCL say on the ranks that survive when one is killed.
    (
        re.compile(
            r"connection (closed|reset|refused) by peer|NCCL|gloo|worker died|preempt", re.I
        ),
        FailureClass.LOST,
    ),
)


def classify(error_types: tuple[str, ...], message: str) -> FailureClass:
    """Class of a failure from the names of its exception types (outermost first, causes after) and
    its text.

    The innermost known type decides: Ray wraps what a worker raised into errors of its own. The
    text is asked before an outer "worker lost", because a process killed for its memory also only
    looks lost.
    """
    known = [_BY_ERROR_TYPE[name] for name in error_types if name in _BY_ERROR_TYPE]
    innermost = known[-1] if known else FailureClass.UNKNOWN
    if innermost not in (FailureClass.UNKNOWN, FailureClass.LOST, FailureClass.DATA):
        return innermost
    by_text = next(
        (kind for pattern, kind in _BY_MESSAGE if pattern.search(message)), FailureClass.UNKNOWN
    )
    if innermost is FailureClass.DATA:  # "disk full" while preparing is raised as a DataError
        return by_text if by_text is FailureClass.DISK_FULL else innermost
    return by_text if by_text is not FailureClass.UNKNOWN else innermost


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What the folder of a run and the present launch know about it."""

    finished: bool = False
    """A result is there."""
    alive: bool = False
    """A process is at it: its heartbeat is fresh and it has not said goodbye."""
    has_checkpoint: bool = False
    failures: tuple[FailureClass, ...] = ()
    """Failures within this launch, oldest first."""


def retries_left(
    failures: tuple[FailureClass, ...], budget: Mapping[FailureClass, int] = RETRY_BUDGET
) -> int:
    """Further attempts that the last failure's kind is still good for (0: none)."""
    if not failures:
        return 0
    return max(0, budget[failures[-1]] + 1 - failures.count(failures[-1]))


def decide(facts: RunFacts, *, budget: Mapping[FailureClass, int] = RETRY_BUDGET) -> Decision:
    """What to do with a run. Finished work is never done again, and two processes never share a
    run."""
    if facts.finished:
        return Decision.SKIP_DONE
    if facts.alive:
        return Decision.SKIP_RUNNING
    if facts.failures:
        return Decision.RETRY if retries_left(facts.failures, budget) else Decision.GIVE_UP
    return Decision.RESUME if facts.has_checkpoint else Decision.RUN
