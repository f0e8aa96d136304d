"""The list of studies, the head of a study, and its matrix of cells."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rml_dashboards.contract.planned import PlannedRow, PlannedRun, StudyPlan
from rml_dashboards.live.reading.plans import ShownStudy
from rml_dashboards.live.reading.watch import Snapshot
from rml_dashboards.live.views.outlook import outlook
from rml_dashboards.live.views.progress import STATES, pace_of, progress_of

MAX_VALUES = 40
"""A setting with more different values is no filter."""
Cells = Mapping[tuple[str, str], Sequence[PlannedRun]]


def study_list(snapshot: Snapshot) -> dict[str, Any]:
    """Every study with its progress."""
    return {
        "version": snapshot.version,
        "problems": snapshot.problems,
        "studies": [_summary(study, snapshot) for study in snapshot.studies.values()],
    }


def _summary(study: ShownStudy, snapshot: Snapshot) -> dict[str, Any]:
    plan = study.plan
    snapshot = snapshot.seen_by(study)
    pace = pace_of(plan, snapshot)
    progress = progress_of(plan.runs, snapshot, pace)
    return {
        "key": study.key,
        "name": plan.name,
        "profile": plan.profile,
        "title": plan.title,
        "written_at": plan.written_at,
        "num_rows": len(plan.rows),
        "num_columns": len(plan.columns),
        "num_cells": len(plan.cells),
        "progress": progress.as_json(outlook(study, snapshot, pace).until(plan.runs)),
    }


def study_head(study: ShownStudy, snapshot: Snapshot) -> dict[str, Any]:
    """What a study is: its summary, what its runs share, and what they can be filtered by."""
    plan = study.plan
    return _summary(study, snapshot) | {
        "version": snapshot.version,
        "description": plan.description,
        "source": plan.source,
        "overrides": plan.overrides,
        "code_version": plan.code_version,
        "warnings": plan.warnings,
        "problems": snapshot.problems,
        "settings": plan.settings,
        "rows": [row.label for row in plan.rows if row.columns],
        "columns": [column.label for column in plan.columns],
        "states": STATES,
        "tags": tags_of_study(plan),
    }


def tags_of_run(run: PlannedRun) -> dict[str, str]:
    """What a run can be filtered by: method, data set, and the settings in which runs differ."""
    settings = {key: shown(value) for key, value in run.settings.items()}
    return {"method": run.method, "data": run.data, "labelled": str(run.num_labelled)} | settings


def shown(value: Any) -> str:
    """A setting's value as a person writes it in YAML."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(shown(item) for item in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {shown(item)}' for key, item in value.items())}}}"
    return str(value)


def tags_of_study(plan: StudyPlan) -> list[dict[str, Any]]:
    """Names of tags with their values, those that tell runs apart and have few."""
    values: dict[str, dict[str, None]] = {}
    for run in plan.runs:
        for name, value in tags_of_run(run).items():
            values.setdefault(name, {})[value] = None
    return [
        {"name": name, "values": list(own)}
        for name, own in values.items()
        if 1 < len(own) <= MAX_VALUES
    ]


def matrix(study: ShownStudy, snapshot: Snapshot, offset: int, limit: int) -> dict[str, Any]:
    """Rows of the matrix from `offset` on, each with its cells' states, progress and ETA."""
    plan = study.plan
    snapshot = snapshot.seen_by(study)
    pace = pace_of(plan, snapshot)
    cells: dict[tuple[str, str], list[PlannedRun]] = {}
    for cell, run in plan.cells:
        cells.setdefault((cell.row, cell.column), []).append(run)
    ahead = outlook(study, snapshot, pace)
    rows = [row for row in plan.rows if row.columns]
    shown_rows = []
    for row in rows[offset : offset + limit]:
        runs = _runs_of_row(plan, row, cells)
        progress = progress_of(runs, snapshot, pace).as_json(ahead.until(runs))
        shown_rows.append(_row(plan, row, cells, snapshot, progress))
    return {
        "version": snapshot.version,
        "columns": [column.label for column in plan.columns],
        "rows": shown_rows,
        "total": len(rows),
        "offset": offset,
    }


def _runs_of_row(plan: StudyPlan, row: PlannedRow, cells: Cells) -> list[PlannedRun]:
    found = [run for column in plan.columns for run in cells.get((row.label, column.label), ())]
    return list({run.run_id: run for run in found}.values())


def _row(
    plan: StudyPlan,
    row: PlannedRow,
    cells: Cells,
    snapshot: Snapshot,
    progress: Mapping[str, Any],
) -> dict[str, Any]:
    return {
        "label": row.label,
        "group": row.group,
        "progress": progress,
        "cells": [
            _cell(cells.get((row.label, column.label), ()), snapshot) for column in plan.columns
        ],
    }


def _cell(runs: Sequence[PlannedRun], snapshot: Snapshot) -> dict[str, Any] | None:
    """States of a cell's runs; None where the study does not ask for it."""
    if not runs:
        return None
    counts: Counter[str] = Counter(snapshot.status(run.run_id).state for run in runs)
    only = runs[0].run_id if len(runs) == 1 else None
    return {
        "counts": {state: counts[state] for state in STATES if counts[state]},
        "run_id": only,
    }
