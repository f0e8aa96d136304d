"""Runs that have no folder here, as a tracker has recorded them."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from rml_dashboards.contract.metric_keys import FINAL_MIOU
from rml_dashboards.contract.states import CANCELLED, RunState, Status
from rml_dashboards.errors import DashboardError
from rml_dashboards.live.reading.run_status import REASON_LENGTH, RunStatus, finite
from rml_dashboards.records.reader import RecordReader

EVERY_S = 30.0
"""How often a tracker is asked for news."""
STATES: Mapping[Status, RunState] = {
    "SCHEDULED": "new",
    "RUNNING": "running",
    "FINISHED": "done",
    "FAILED": "failed",
    "KILLED": "cut_off",
}


class RecordedRuns:
    """Statuses from a tracker, through its ledger."""

    def __init__(self, reader: RecordReader) -> None:
        self._reader = reader
        self._read_at = -float("inf")
        self._runs = pd.DataFrame()
        self._problem: tuple[str, ...] = ()

    def statuses(
        self, num_steps: Mapping[str, int], now: float
    ) -> tuple[dict[str, RunStatus], tuple[str, ...]]:
        """Status of each of these runs that is recorded, and why the tracker cannot be read now;
        then what it said before counts. Where nothing is wanted of it, or every wanted run is known
        to be done, it does not matter whether it can be read, and nothing is told.

        Args:
            num_steps: steps of each wanted run, which a finished one has done.
        """
        if num_steps and not 0 <= now - self._read_at < EVERY_S:
            self._read_at = now
            try:
                self._runs = self._reader.records(None, {FINAL_MIOU}).runs
                self._problem = ()
            except DashboardError as error:
                self._problem = (str(error),)
        if not num_steps:
            return {}, ()
        if self._runs.empty:
            return {}, self._problem
        own = self._runs[self._runs["run_id"].isin(list(num_steps))]
        found = {
            str(run["run_id"]): _status(run, num_steps[str(run["run_id"])])
            for run in own.to_dict("records")
        }
        is_known = len(found) == len(num_steps) and all(
            one.state == "done" for one in found.values()
        )
        return found, () if is_known else self._problem


def _status(run: Mapping[Any, Any], num_steps: int) -> RunStatus:
    reason = str(run["failure"])
    state = STATES[run["status"]]
    if state == "cut_off" and reason.startswith(f"{CANCELLED}:"):
        state = "cancelled"
    ended = run["end_time"]
    return RunStatus(
        state=state,
        step=num_steps if state == "done" else 0,
        num_steps=num_steps,
        miou=finite(run.get(FINAL_MIOU)),
        seen=None if pd.isna(ended) else ended.timestamp(),
        device=str(run["device"]),
        host=str(run["host"]),
        attempt=0 if pd.isna(run["attempt"]) else int(run["attempt"]),
        reason=reason[:REASON_LENGTH] if state in ("failed", "cancelled", "cut_off") else "",
    )
