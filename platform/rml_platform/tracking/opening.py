"""The tracker that fits a tracking URI."""

from pathlib import Path
from typing import TYPE_CHECKING

from rml_dashboards.contract.run_folder import NO_TRACKER
from rml_dashboards.contract.store_uri import (
    tracking_uri_or_default as tracking_uri_or_default,
)
from rml_platform.tracking.file_tracker import FileTracker
from rml_platform.tracking.reaching import check_reachable
from rml_platform.tracking.tracker import Tracker, TrackingError

if TYPE_CHECKING:
    from rml_platform.tracking.mlflow_tracker import MlflowTracker


def open_tracker(tracking_uri: str | None, out: Path, artifact_root: Path) -> Tracker:
    """Tracker of an MLflow store, or of the run folders alone where the URI is `none`.

    Args:
        out: output folder; its own database is the default.
        artifact_root: folder for the artifacts of new MLflow experiments, unless a server has them.
    Raises:
        TrackingError: the store cannot be opened.
    """
    if tracking_uri_or_default(tracking_uri, out) == NO_TRACKER:
        return FileTracker()
    return open_mlflow(tracking_uri, out, artifact_root)


def open_mlflow(tracking_uri: str | None, out: Path, artifact_root: Path) -> "MlflowTracker":
    """Tracker of an MLflow store; arguments as of `open_tracker`.

    Raises:
        TrackingError: the store does not answer, cannot be opened, or the URI is `none`.
    """
    uri = tracking_uri_or_default(tracking_uri, out)
    if uri == NO_TRACKER:
        raise TrackingError(
            "--tracking-uri none: there is no tracker to send runs to; give that of an MLflow "
            "server or database"
        )
    check_reachable(uri)
    from rml_platform.tracking.mlflow_store import MlflowStore  # loads MLflow
    from rml_platform.tracking.mlflow_tracker import MlflowTracker

    return MlflowTracker(MlflowStore(uri, artifact_root))
