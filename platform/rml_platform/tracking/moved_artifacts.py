"""Artifacts of an output folder that was moved or copied are where it lies now."""

import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from rml_dashboards.contract.store_uri import sqlite_file


def follow_moved_artifacts(client: Any, uri: str, artifact_root: Path | None) -> None:
    """Change the places of artifacts in MLflow's database to where they lie now.

    MLflow makes every place absolute and has no call to change it, so the places are changed in
    the database: only in the one of the output folder itself, and only of experiments whose
    artifacts came along or are gone from the old place.

    Args:
        client: MLflow's, on `uri`.
        artifact_root: where the artifacts of this output folder are; None where a server keeps
            them.
    """
    from mlflow.entities import ViewType

    file = sqlite_file(uri)
    root = artifact_root.resolve() if artifact_root else None
    if file is None or root is None or file.resolve().parent != root.parent:
        return
    moved = []
    for experiment in client.search_experiments(view_type=ViewType.ALL):
        before = experiment.artifact_location
        old = _local_folder(before)
        if old is None or old.parent.name != root.name or old.parent == root:
            continue
        now = root / old.name
        if now.is_dir() or not old.is_dir():
            moved.append((before, now.as_uri()))
    if moved:
        _change_places(file, moved)


def _local_folder(location: str) -> Path | None:
    """Folder of a `file:` URI; None for artifacts that lie elsewhere."""
    parts = urlsplit(location)
    return Path(unquote(parts.path)) if parts.scheme == "file" and not parts.netloc else None


def _change_places(file: Path, moved: Sequence[tuple[str, str]]) -> None:
    """Write new artifact locations of experiments, and of the runs in them, into MLflow's
    database."""
    with contextlib.closing(sqlite3.connect(file)) as database, database:
        for before, now in moved:
            database.execute(
                "UPDATE experiments SET artifact_location = ? WHERE artifact_location = ?",
                (now, before),
            )
            inside = f"{before}/"
            database.execute(
                "UPDATE runs SET artifact_uri = ? || substr(artifact_uri, ?) "
                "WHERE substr(artifact_uri, 1, ?) = ?",
                (f"{now}/", len(inside) + 1, len(inside), inside),
            )
