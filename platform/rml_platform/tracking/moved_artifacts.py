"""Where artifacts lie: those of an output folder that was moved or copied are where it is now, and
those of a store that several machines share may be out of reach."""

import contextlib
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from rml_dashboards.contract.store_uri import DATABASES, is_server, sqlite_file

KEPT_BY_A_SERVER = "mlflow-artifacts:"


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


def why_out_of_reach(location: str, uri: str, own: Path | None) -> str:
    """Why files cannot be stored under an experiment's place of artifacts; empty where they can.

    MLflow makes the folders of a place that another machine has, and says nothing: the files would
    be where nobody looks for them.

    Args:
        location: of the experiment.
        uri: of the store.
        own: where this launcher keeps artifacts itself, which need not be there yet.
    """
    if location.startswith(KEPT_BY_A_SERVER) and not is_server(uri):
        return "an MLflow server keeps them: give its address as the tracking URI"
    is_shared = is_server(uri) or uri.startswith(DATABASES)
    is_plain = location.startswith("/")
    folder = Path(location) if is_plain else _local_folder(location)
    if not is_shared or folder is None or os.access(folder.parent, os.F_OK):
        return ""
    if own is not None and folder.parent == own.resolve():
        return ""
    return (
        f"they lie at {location}, and this machine has no {folder.parent}. Launch, or `rml "
        "tracking sync`, where it is; or give the experiment another name in MLflow, and the next "
        "launch makes one, through a server that keeps its files (`rml tracking serve`)"
    )


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
