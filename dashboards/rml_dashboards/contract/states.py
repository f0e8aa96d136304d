"""How a run stands, in three vocabularies, and how each follows from the one before.

A run's folder knows most; MLflow has four words of its own; a table also knows runs that were never
recorded and scores that are absent.
"""

from typing import Literal

RunState = Literal["new", "running", "cut_off", "failed", "cancelled", "done"]
"""Of a run's folder. `cut_off`: its processes are gone, and neither a result nor a failure is
there."""
Status = Literal["SCHEDULED", "RUNNING", "FINISHED", "FAILED", "KILLED"]
"""Of a tracker, in MLflow's words."""
TableState = Literal["done", "running", "failed", "stopped", "unscored", "missing"]
"""Of one run in a table: scored · recorded as at work · ended in an error · cut off or cancelled,
and resumable · finished without the score · never recorded."""

TABLE_STATES: tuple[TableState, ...] = (
    "done",
    "running",
    "failed",
    "stopped",
    "unscored",
    "missing",
)

STATUS_OF_STATE: dict[RunState, Status] = {
    "new": "SCHEDULED",
    "running": "RUNNING",
    "cut_off": "KILLED",
    "failed": "FAILED",
    "cancelled": "KILLED",
    "done": "FINISHED",
}

TABLE_STATE_OF_STATUS: dict[Status, TableState] = {
    "SCHEDULED": "running",
    "RUNNING": "running",
    "FINISHED": "done",
    "FAILED": "failed",
    "KILLED": "stopped",
}
"""A finished run is `unscored` instead of `done` where the wanted score is absent."""

HeartbeatState = Literal["running", "stopped"]
"""What a process last said of itself; `stopped` is its goodbye."""
ALIVE: HeartbeatState = "running"

CANCELLED = "Cancelled"
"""Kind of the failure of a run that somebody asked to stop."""
STALE_AFTER_S = 120.0
"""A heartbeat older than this means that nobody is at the run any more. Heartbeats come every 15 s
at least; eight fold, because clocks of hosts differ and a shared file system can be slow."""


def run_state(*, has_result: bool, failure_kind: str | None, is_alive: bool | None) -> RunState:
    """State of a run from what lies in its folder.

    Args:
        failure_kind: class of the error that the last attempt ended in, None where none is written.
        is_alive: whether its heartbeat is a living process's; None where there is no heartbeat.
    """
    if has_result:
        return "done"
    if failure_kind is not None:
        return "cancelled" if failure_kind == CANCELLED else "failed"
    if is_alive is None:
        return "new"
    return "running" if is_alive else "cut_off"
