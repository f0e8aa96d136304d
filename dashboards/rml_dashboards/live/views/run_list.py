"""Runs of a study, filtered, by pages."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rml_dashboards.contract.planned import PlannedRun
from rml_dashboards.live.reading.plans import ShownStudy
from rml_dashboards.live.reading.run_status import RunStatus
from rml_dashboards.live.reading.watch import Snapshot
from rml_dashboards.live.views.study_views import tags_of_run

MAX_SUGGESTIONS = 20


@dataclass(frozen=True, kw_only=True)
class Filter:
    """What a run must be; empty: anything."""

    row: str = ""
    column: str = ""
    state: str = ""
    tag: str = ""
    """`<name>=<value>`."""
    text: str = ""
    """Words that all occur in a run's id, cells, settings, machine or reason of failure."""


def run_page(
    study: ShownStudy, snapshot: Snapshot, wanted: Filter, offset: int, limit: int
) -> dict[str, Any]:
    """Runs from `offset` on among those that pass, and how many pass."""
    snapshot = snapshot.seen_by(study)
    words = wanted.text.casefold().split()
    found = [
        run for run in study.plan.runs if _passes(run, snapshot.status(run.run_id), wanted, words)
    ]
    return {
        "version": snapshot.version,
        "total": len(found),
        "offset": offset,
        "runs": [_line(run, snapshot.status(run.run_id)) for run in found[offset : offset + limit]],
    }


def suggestions(snapshot: Snapshot, text: str) -> list[str]:
    """Ids of begun runs that hold a text, a few."""
    wanted = text.casefold()
    found = (run_id for run_id in sorted(snapshot.stamps) if wanted in run_id.casefold())
    return [run_id for run_id, _ in zip(found, range(MAX_SUGGESTIONS), strict=False)]


def _passes(run: PlannedRun, status: RunStatus, wanted: Filter, words: list[str]) -> bool:
    if wanted.state and status.state != wanted.state:
        return False
    if (wanted.row or wanted.column) and not any(
        wanted.row in ("", cell.row) and wanted.column in ("", cell.column) for cell in run.cells
    ):
        return False
    if not (wanted.tag or words):
        return True
    tags = tags_of_run(run)
    if wanted.tag and not _has(tags, wanted.tag):
        return False
    if not words:
        return True
    text = "\n".join(
        (
            run.run_id,
            *(f"{cell.row}\n{cell.column}\nseed {cell.seed}" for cell in run.cells),
            *(f"{name}={value}" for name, value in tags.items()),
            status.host,
            status.node,
            status.reason,
        )
    ).casefold()
    return all(word in text for word in words)


def _has(tags: Mapping[str, str], wanted: str) -> bool:
    return any(f"{name}={value}" == wanted for name, value in tags.items())


def _line(run: PlannedRun, status: RunStatus) -> dict[str, Any]:
    total = run.stages[-1].last_step if run.stages else status.num_steps
    return {
        "run_id": run.run_id,
        "cells": [[cell.row, cell.column, cell.seed] for cell in run.cells],
        "method": run.method,
        "step": status.step,
        "num_steps": total,
        **status_json(status),
    }


def status_json(status: RunStatus) -> dict[str, Any]:
    """What a list shows of a run's status."""
    return {
        "state": status.state,
        "loss": status.loss,
        "miou": status.miou,
        "seconds": status.seconds,
        "seconds_per_step": status.seconds_per_step,
        "seen": status.seen,
        "device": status.device,
        "host": status.host,
        "node": status.node,
        "attempt": status.attempt,
        "reason": status.reason,
        "gpu": dict(status.gpu),
        "damaged": status.damaged,
    }
