"""The reader that fits a tracking URI."""

from pathlib import Path

from rml_dashboards.contract.run_folder import NO_TRACKER
from rml_dashboards.records.reader import RecordReader
from rml_dashboards.records.run_folder_reader import RunFolderReader


def open_records(
    tracking_uri: str, *, storage: str, ledger_folder: Path, fresh: bool = False
) -> RecordReader:
    """Reader of an MLflow store, or, where the URI is `none`, of the run folders.

    Args:
        storage: path or URI of the folder that holds `runs/`.
        ledger_folder: where what was read from MLflow is kept.
        fresh: read all of MLflow again, whatever the ledger has.
    Raises:
        DashboardError: the storage is none.
    """
    if tracking_uri == NO_TRACKER:
        return RunFolderReader(storage)
    from rml_dashboards.records.mlflow_reader import MlflowReader  # MLflow takes a second to load

    return MlflowReader(tracking_uri, ledger_folder, fresh=fresh)
