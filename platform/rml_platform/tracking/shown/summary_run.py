"""One MLflow run per study that holds its table: what a person opens first.

It has no run id of ours, so no reader of runs takes it for one; its own tag says which study it is
of, and whoever comes next brings it up to date.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rml_dashboards.contract.tags import SUMMARY
from rml_platform.run.files.temporary import temporary_folder
from rml_platform.tracking.mlflow_store import MAX_TAG, MlflowStore

TABLE_FILE = "table.json"
"""Where MLflow's own `log_table` would put it, in the same format."""
CUT = "\n\n…"


@dataclass(frozen=True, kw_only=True)
class StudySummary:
    """What is told of a study."""

    study: str
    """Names the experiment."""
    name: str
    """Tells it from those of other sizes of the study."""
    source: str
    """The study file."""
    code_version: str
    description: str
    """Markdown."""
    header: Sequence[str]
    lines: Sequence[Sequence[str]]
    """The table as it is printed."""
    files: Mapping[Path, str | None]
    """Each with the folder of artifacts that it goes to; None: the top."""


def publish_summary(store: MlflowStore, summary: StudySummary) -> str:
    """Bring a study's summary run up to date, made where there is none; returns its MLflow run id.

    Idempotent: whatever moment an earlier call died at, calling again leaves one summary run with
    the table as it is now.

    Raises:
        TrackingError: the store cannot be used.
    """
    found = store.find(summary.name, SUMMARY)
    run = found or store.create(summary.study, summary.name, SUMMARY)
    with temporary_folder("rml-upload-") as scratch:
        table = scratch / TABLE_FILE
        table.write_text(json.dumps({"columns": _each_once(summary.header), "data": summary.lines}))
        store.upload(run, table, None)
    for file, place in summary.files.items():
        store.upload(run, file, place)
    note = summary.description
    store.set_tags(
        run,
        {
            "mlflow.runName": f"{summary.name}: table",
            "mlflow.note.content": note if len(note) <= MAX_TAG else note[: MAX_TAG - 3] + CUT,
            "mlflow.source.name": summary.source,
            "mlflow.source.git.commit": summary.code_version,
            "mlflow.source.type": "PROJECT",
            "mlflow.loggedArtifacts": json.dumps([{"path": TABLE_FILE, "type": "table"}]),
        },
    )
    store.set_status(run, "FINISHED")
    return run


def _each_once(header: Sequence[str]) -> list[str]:
    """Headings of a table, in which MLflow takes equal ones for one column."""
    seen: dict[str, int] = {}
    told = []
    for text in header:
        seen[text] = seen.get(text, 0) + 1
        told.append(text if seen[text] == 1 else f"{text} ({seen[text]})")
    return told
