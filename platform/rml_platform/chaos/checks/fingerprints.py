"""What a finished run must have in common with the same run left alone: scores, weights and
history."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rml_dashboards.contract.run_folder import RESULT_FILE
from rml_platform.run.checkpoints import MANIFEST, CheckpointStore
from rml_platform.run.metric_log import Point, history
from rml_platform.run.run_folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """One finished run, apart from times and places."""

    scores: str
    """Hash of the final evaluations, with their confusion matrices."""
    weights: str
    """Hash of the newest checkpoint's networks."""
    history: Mapping[Point, int]
    """Everything measured, and how often it stands in the log."""
    steps: int


def fingerprint(run: RunFolder) -> Fingerprint | None:
    """None for a run that has no sound result.

    Raises:
        DamagedFileError: a file of the run is damaged.
    """
    result = run.result()
    if result is None:
        return None
    raw = json.loads(run.folder.read(RESULT_FILE) or b"{}")
    return Fingerprint(
        scores=_hash([raw.get("evaluations"), raw.get("num_workers"), raw.get("micro_batches")]),
        weights=_hash(_newest_networks(run)),
        # a damaged piece is seen as values that are missing
        history=Counter(history(run.folder, lambda text: None)),
        steps=result.steps,
    )


def _newest_networks(run: RunFolder) -> dict[str, str]:
    """Hash by file of the networks in the newest checkpoint."""
    store = CheckpointStore(run.folder, "")
    newest = store.stored()[-1:]
    if not newest:
        return {}
    folder = store.folder.child(newest[0].writer, newest[0].name)
    try:
        files = json.loads(folder.read(MANIFEST) or b"{}").get("files", {})
    except (ValueError, AttributeError):
        return {}
    return {name: files.get(name, "") for name in ("students.safetensors", "teachers.safetensors")}


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def differences(found: Fingerprint, expected: Fingerprint) -> list[str]:
    """In what a run differs from the one that was left alone, apart from how often it measured."""
    same = {
        "scores": found.scores == expected.scores,
        "weights": found.weights == expected.weights,
        "metric log": found.history.keys() == expected.history.keys(),
    }
    return [what for what, is_same in same.items() if not is_same]


def measured_twice(found: Fingerprint) -> list[str]:
    """Steps that stand in the log more than once."""
    places = Counter((key, step) for (key, step, _), n in found.history.items() for _ in range(n))
    return [f"{key} at step {step}" for (key, step), n in places.items() if n > 1]
