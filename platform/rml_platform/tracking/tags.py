"""How a run appears in the tracker: its configuration as flat parameters, its origin as tags."""

import json
from typing import Any

from rml_platform.run.run_folder import Heartbeat
from rml_platform.run.task import RunTask
from rml_trainers import RESULT_VERSION


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested configuration as flat `a.b.c` parameters."""
    flat: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = json.dumps(value) if isinstance(value, list) else str(value)
    return flat


def run_tags(task: RunTask, heartbeat: Heartbeat | None) -> dict[str, str]:
    """What a run can be found by and traced to."""
    config = task.config
    split = config.split
    amount = split.num_labelled if split.num_labelled is not None else split.fraction
    tags = {
        "rml.study": task.study,
        "rml.method": config.method.name,
        "rml.data": config.data.name,
        "rml.split": f"{split.family}/{amount}/{split.seed}",
        "rml.split_hash": task.split_hash,
        "rml.data_hash": task.data_hash,
        "rml.seed": str(config.seed),
        "rml.code_version": task.code_version,
        "rml.dirty": str(task.dirty).lower(),
        "rml.result_version": str(RESULT_VERSION),
    }
    if heartbeat is not None:
        tags |= {
            "rml.host": heartbeat.worker.host,
            "rml.device": heartbeat.device,
            "rml.attempt": str(heartbeat.attempt),
        }
    return tags
