"""Where the runs of a study stand, as one value that is shown as text or as JSON."""

import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rml_dashboards.contract.launches import STARTING
from rml_platform.launch.scheduling.queue_state import QueueState
from rml_platform.launch.scheduling.wishes import CANCELLED
from rml_platform.planning.costs.forecast import (
    Devices,
    RunForecast,
    Total,
    by_row,
    forecast,
    total,
)
from rml_platform.planning.costs.measured import Probe, device_text
from rml_platform.planning.plan_file.written_plan import WrittenPlan, WrittenRun
from rml_platform.run.run_folder import RunRecord

FORMAT = 1
"""Of `rml status --json`; raised when a key goes away or means something else."""
NOT_LAUNCHED = "not launched"


@dataclass(frozen=True, kw_only=True)
class RunStanding:
    """One run."""

    run: WrittenRun
    record: RunRecord
    state: str
    """new, waiting, running, cut_off, failed, cancelled or done."""
    reason: str
    """Why it neither runs nor is done."""
    forecast: RunForecast | None
    """None where it is done."""

    @property
    def seconds_left(self) -> float | None:
        return self.forecast.seconds if self.forecast else None

    @property
    def step(self) -> int:
        if self.record.result is not None:
            return self.run.num_steps
        return self.record.heartbeat.step if self.record.heartbeat else 0

    @property
    def steps_per_second(self) -> float | None:
        beat = self.record.heartbeat
        if self.state != "running" or beat is None or not beat.seconds_per_step:
            return None
        return 1 / beat.seconds_per_step

    @property
    def miou(self) -> float | None:
        if self.record.result is not None:
            return self.record.result.evaluations[0].miou
        return self.record.heartbeat.miou if self.record.heartbeat else None


@dataclass(frozen=True, kw_only=True)
class Standing:
    """The runs of a study at one moment."""

    plan: WrittenPlan
    runs: tuple[RunStanding, ...]
    queues: tuple[QueueState, ...]
    devices: Devices
    time: float

    @property
    def counts(self) -> Counter[str]:
        return Counter(run.state for run in self.runs)

    @property
    def at_once(self) -> int:
        """Runs that are trained at the same time at the moment, at least one."""
        return max(1, self.counts["running"])

    @property
    def left(self) -> list[RunForecast]:
        """Of the runs that somebody will finish: cancelled ones are not among them."""
        return [run.forecast for run in self.runs if run.forecast and run.state != "cancelled"]

    def total(self, runs: Sequence[RunForecast] | None = None) -> Total:
        return total(self.left if runs is None else runs, self.devices, self.at_once)

    @property
    def is_over(self) -> bool:
        """Whether nothing is running, and no launch has anything left to start."""
        return not self.counts["running"] and not self.counts["waiting"]


def standing(
    plan: WrittenPlan,
    records: Mapping[str, RunRecord],
    cancelled: frozenset[str],
    queues: Sequence[QueueState],
    now: float | None = None,
    probes: Mapping[str, Probe] | None = None,
) -> Standing:
    """Put together what the plan, the run folders, people's wishes, the launches and probes (by
    kind) say."""
    devices = Devices.of(plan.resources, _gpus(records))
    left = {one.run_id: one for one in forecast(plan, records, probes=probes, devices=devices)}
    runs = []
    for run in plan.runs:
        record = records[run.run_id]
        state, reason = _state(run.run_id, record, cancelled, queues)
        runs.append(
            RunStanding(
                run=run, record=record, state=state, reason=reason, forecast=left.get(run.run_id)
            )
        )
    own = {run.run_id for run in plan.runs}
    here = [q for q in queues if own.intersection(q.under_way) or own.intersection(q.waiting)]
    return Standing(
        plan=plan,
        runs=tuple(runs),
        queues=tuple(here),
        devices=devices,
        time=time.time() if now is None else now,
    )


def devices_of(plan: WrittenPlan, records: Mapping[str, RunRecord]) -> frozenset[str]:
    """What the runs so far were trained on, as probes name it."""
    beats = (record.heartbeat for record in records.values())
    cpus = plan.resources.cpus_per_worker
    return frozenset(device_text(beat.device, cpus) for beat in beats if beat is not None)


def _gpus(records: Mapping[str, RunRecord]) -> float:
    """Whether the runs so far were on GPUs: this process does not look for any."""
    beats = (record.heartbeat for record in records.values())
    return float(any(beat is not None and beat.device != "cpu" for beat in beats))


def _state(
    run_id: str, record: RunRecord, cancelled: frozenset[str], queues: Sequence[QueueState]
) -> tuple[str, str]:
    """State of a run, and why it neither runs nor is done."""
    if record.state in ("done", "running"):
        return record.state, ""
    if run_id in cancelled:
        return "cancelled", CANCELLED
    for queue in queues:
        if run_id in queue.under_way:
            return "waiting", STARTING
        if run_id in queue.waiting:
            return "waiting", queue.waiting[run_id]
    if record.failure is not None:
        return record.state, record.failure.message
    return record.state, NOT_LAUNCHED


def as_json(now: Standing) -> dict[str, Any]:
    """What `rml status --json` prints; docs/running.md explains the keys."""
    return {
        "format": FORMAT,
        "study": now.plan.name,
        "profile": now.plan.profile,
        "time": now.time,
        "counts": dict(now.counts),
        "launches": [
            {"launch_id": q.launch_id, "host": q.launcher.host, "pid": q.launcher.pid}
            for q in now.queues
        ],
        "device": now.devices.unit,
        **_left_json(now.total()),
        "rows": [
            {"row": row, **_left_json(now.total(runs))}
            for row, runs in by_row(now.plan, now.left).items()
        ],
        "runs": [_run_json(run, now.time) for run in now.runs],
    }


def _left_json(left: Total) -> dict[str, Any]:
    """Times are those of the runs whose length is known, null where it is of none."""
    is_known = left.num_unknown < left.num_runs or not left.num_runs
    return {
        "runs_left": left.num_runs,
        "runs_of_unknown_length": left.num_unknown,
        "device_hours_left": left.device_hours if is_known else None,
        "seconds_left": left.wall_seconds if is_known else None,
    }


def _run_json(run: RunStanding, now: float) -> dict[str, Any]:
    beat = run.record.heartbeat
    failure = run.record.failure
    return {
        "run_id": run.run.run_id,
        "cells": [
            {"row": cell.row, "column": cell.column, "seed": cell.seed} for cell in run.run.cells
        ],
        "state": run.state,
        "reason": run.reason,
        "step": run.step,
        "num_steps": run.run.num_steps,
        "steps_per_second": run.steps_per_second,
        "loss": beat.loss if beat else None,
        "miou": None if run.miou is None or math.isnan(run.miou) else run.miou,
        "seconds": run.record.result.seconds if run.record.result else beat.seconds if beat else 0,
        "seconds_left": run.seconds_left,
        "device": beat.device if beat else None,
        "host": beat.worker.host if beat else None,
        "gpu_percent": beat.gpu_percent if beat else None,
        "gpu_memory_bytes": beat.gpu_memory_bytes if beat else None,
        "seen_s": max(0.0, now - beat.time) if beat else None,
        "failure": {"kind": failure.kind, "message": failure.message} if failure else None,
    }
