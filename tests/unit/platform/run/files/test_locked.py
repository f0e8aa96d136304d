"""Locks that another process holds: one that was suspended holds them for ever."""

from pathlib import Path
from unittest.mock import Mock

import pytest
from filelock import FileLock

from rml_platform.launch.scheduling.wishes import Wishes, change_wishes
from rml_platform.run.files import locked as module
from rml_platform.run.files.locked import locked
from rml_platform.run.run_folder import RunFolder
from rml_platform.tracking.mlflow_store import MlflowStore
from rml_platform.tracking.mlflow_tracker import MlflowTracker
from rml_platform.tracking.publisher import Publisher
from rml_platform.tracking.tracker import TrackingError
from rml_trainers.errors import ConfigError


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HELD_FOR_S", 0.01)


def held(file: Path) -> FileLock:
    """A lock as another process holds it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(file)


def test_a_lock_that_stays_with_another_is_an_error_that_names_it(tmp_path: Path) -> None:
    with locked(tmp_path / "lock", ConfigError):
        pass
    expected = pytest.raises(ConfigError, match=r"has held .*lock for more than")
    with held(tmp_path / "lock"), expected, locked(tmp_path / "lock", ConfigError):
        raise AssertionError("not reached")
    with pytest.raises(TimeoutError, match="own"), locked(tmp_path / "lock", ConfigError):
        raise TimeoutError("own")


def test_a_run_that_another_publishes_without_end_is_sent_later(tmp_path: Path) -> None:
    run = RunFolder.of(str(tmp_path), "run-1")
    said: list[str] = []
    publisher = Publisher(MlflowTracker(Mock(shown_uri="db")), "study", said.append)
    with held(tmp_path / "runs" / "run-1" / ".publishing.lock"):
        assert publisher.sync([run]) == ["run-1"]
    assert "perhaps it was suspended" in said[0] and "sent later" in said[0]
    assert publisher.sync([run], closing=True) == []


def test_a_database_that_another_opens_without_end_is_not_waited_for(tmp_path: Path) -> None:
    with held(tmp_path / "mlflow.db.lock"), pytest.raises(TrackingError, match="perhaps it was"):
        MlflowStore(f"sqlite:///{tmp_path}/mlflow.db", None)


def test_wishes_that_another_changes_without_end_are_not_waited_for(tmp_path: Path) -> None:
    expected = pytest.raises(ConfigError, match=r"wishes\.json\.lock for more than")
    with held(tmp_path / "studies" / "tiny" / ".wishes.json.lock"), expected:
        change_wishes(str(tmp_path), "tiny", None, lambda wishes: Wishes())
