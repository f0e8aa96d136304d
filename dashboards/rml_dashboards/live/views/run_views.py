"""One run: where it stands, its settings, final scores, log, failure and pictures."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rml_dashboards.contract import run_folder as names
from rml_dashboards.contract.metric_keys import IOU
from rml_dashboards.live.reading.run_status import RunStatus, finite, status_of
from rml_dashboards.live.reading.storage import RunStorage
from rml_dashboards.live.reading.watch import Snapshot
from rml_dashboards.live.views.run_list import status_json
from rml_dashboards.live.views.study_views import shown

LOG_LINES = 200
"""Lines at the end of a log that are shown."""
MAX_TEXT = 40_000
"""Characters of a traceback or log that are shown, its end."""
PICTURES = "predictions"
LOG_FILE = "log.txt"
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What the files of a run say, beside its status."""

    settings: Mapping[str, str] = field(default_factory=dict)
    """Dotted key → value as YAML has it, of everything that was asked for."""
    task: Mapping[str, str] = field(default_factory=dict)
    scores: tuple[names.RecordedScore, ...] = ()
    pictures: tuple[str, ...] = ()


def run_facts(storage: RunStorage, run_id: str) -> RunFacts:
    """Read what does not change while a run trains; damaged files count as absent."""
    files = storage.files(run_id)
    task = _json(storage, run_id, names.TASK_FILE) if names.TASK_FILE in files else {}
    result = _json(storage, run_id, names.RESULT_FILE) if names.RESULT_FILE in files else {}
    settings: dict[str, str] = {}
    try:
        _flatten("", json.loads(task.get("config_json", "{}")), settings)
    except (TypeError, ValueError):
        settings = {}
    told = ("study", "code_version", "dirty", "split_hash", "data_hash", "result_version")
    return RunFacts(
        settings=settings,
        task={name: shown(task[name]) for name in told if name in task},
        scores=_scores(result),
        pictures=tuple(sorted(picture_names(storage, run_id))),
    )


def run_page(storage: RunStorage, snapshot: Snapshot, run_id: str, now: float) -> dict[str, Any]:
    """Everything about a run but its curves. The run has a folder or a place in a plan."""
    facts = run_facts(storage, run_id)
    files = storage.files(run_id)
    status = snapshot.statuses.get(run_id) or status_of(
        files, lambda name: storage.read(run_id, name), now
    )
    return {
        "version": snapshot.version,
        "run_id": run_id,
        **status_json(status),
        **_stage(status),
        "studies": _places(snapshot, run_id),
        "settings": facts.settings,
        "task": facts.task,
        "failure": _failure(storage, run_id) if status.state in ("failed", "cancelled") else None,
        "log": _tail(storage.read(run_id, LOG_FILE)) if LOG_FILE in files else [],
        "scores": score_tables(facts.scores),
        "pictures": facts.pictures,
    }


def picture(storage: RunStorage, run_id: str, name: str) -> bytes | None:
    """Content of a picture of a run; None where it has none of that name, or it is no PNG."""
    if name not in picture_names(storage, run_id):
        return None
    content = storage.read(run_id, PICTURES, *name.split("/"))
    return content if content is not None and content.startswith(PNG) else None


def score_tables(scores: tuple[names.RecordedScore, ...]) -> list[dict[str, Any]]:
    """Final scores, one table per network and subset; the IoU of classes by themselves."""
    start = f"{IOU}/"
    return [
        {
            "network": one.network,
            "subset": one.subset,
            "protocol": one.protocol,
            "scores": {
                name: finite(value) for name, value in one.scores.items() if "/" not in name
            },
            "iou": {
                name.removeprefix(start): finite(value)
                for name, value in one.scores.items()
                if name.startswith(start)
            },
        }
        for one in scores
    ]


def _places(snapshot: Snapshot, run_id: str) -> list[dict[str, Any]]:
    """Studies that have the run, each with the cells that it fills."""
    return [
        {
            "key": study.key,
            "title": study.plan.title,
            "cells": [[cell.row, cell.column, cell.seed] for cell in run.cells],
            "num_steps": run.stages[-1].last_step if run.stages else 0,
        }
        for study in snapshot.studies.values()
        for run in study.plan.runs
        if run.run_id == run_id
    ]


def _stage(status: RunStatus) -> dict[str, int]:
    return {
        "step": status.step,
        "num_steps": status.num_steps,
        "stage": status.stage,
        "num_stages": status.num_stages,
    }


def _json(storage: RunStorage, run_id: str, name: str) -> dict[str, Any]:
    try:
        value = json.loads(storage.read(run_id, name) or b"{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _flatten(prefix: str, value: Mapping[str, Any], into: dict[str, str]) -> None:
    for key, item in value.items():
        if isinstance(item, dict) and item:
            _flatten(f"{prefix}{key}.", item, into)
        else:
            into[f"{prefix}{key}"] = shown(item)


def _scores(result: Mapping[str, Any]) -> tuple[names.RecordedScore, ...]:
    try:
        return names.recorded_scores(result)
    except (AttributeError, KeyError, TypeError, ValueError):
        return ()


def _failure(storage: RunStorage, run_id: str) -> dict[str, Any]:
    value = _json(storage, run_id, names.FAILURE_FILE)
    return {
        "kind": str(value.get("kind", "")),
        "message": str(value.get("message", ""))[:MAX_TEXT],
        "traceback": str(value.get("traceback", ""))[-MAX_TEXT:],
        "attempt": str(value.get("attempt", "")),
    }


def _tail(content: bytes | None) -> list[str]:
    text = (content or b"").decode(errors="replace")[-MAX_TEXT:]
    return text.splitlines()[-LOG_LINES:]


def picture_names(storage: RunStorage, run_id: str) -> list[str]:
    """Names of a run's pictures, as `city/image.png`."""
    return [name for name in storage.names_below(run_id, PICTURES) if name.endswith(".png")]
