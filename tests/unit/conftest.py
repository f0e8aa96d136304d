"""Fixtures of the tests that read recorded runs."""

from pathlib import Path

import pytest

from tests.support.recorded import Store


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SQLite file of an MLflow store without runs; made once, because its tables take seconds."""
    file = tmp_path_factory.mktemp("mlflow") / "empty.db"
    Store.open(file).client.search_experiments()
    return file


@pytest.fixture
def store(empty_store: Path, tmp_path: Path) -> Store:
    """An MLflow store of the test's own."""
    return Store.copy(empty_store, tmp_path / "mlflow.db")
