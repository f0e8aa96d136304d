"""A storage that cannot be used is told in one sentence before anything is begun."""

import socket
import uuid
from pathlib import Path

import pytest

from rml_platform.run.files import reaching as module
from rml_platform.run.files.reaching import check_storage
from rml_platform.run.storage import Folder
from rml_trainers.errors import ConfigError
from tests.support.platform.command import rml
from tests.support.platform.object_store import s3_endpoint as s3_endpoint
from tests.support.platform.object_store import s3_uri as s3_uri
from tests.support.platform.studies import write_study


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    """A port that nobody listens at."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def uri_at(port: int) -> str:
    return f"s3://bucket/rml?scheme=http&endpoint_override=127.0.0.1%3A{port}&region=us-east-1"


@pytest.mark.parametrize("command", ["launch", "plan", "status"])
def test_a_storage_that_is_not_there_is_told_before_anything_is_prepared(
    command: str, port: int, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as told:
        rml(command, write_study(tmp_path), "--out", tmp_path / "o", "--storage", uri_at(port))
    said = str(told.value)
    assert said.startswith(f"storage {uri_at(port)} cannot be reached")
    assert "Could not connect to server): correct --storage, or see to its server" in said
    assert "\n" not in said
    assert not (tmp_path / "o").exists()


def test_a_storage_that_never_answers_is_given_up(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANSWERS_WITHIN_S", 2)
    monkeypatch.setattr(module, "TRIES", 1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(ConfigError, match=r"cannot be reached \(Operation too slow"):
            check_storage(uri_at(silent.getsockname()[1]), is_written=False)


@pytest.mark.parametrize("storage", ["nonsense://bucket/rml", "s3://bucket?nonsense=1"])
def test_what_is_no_storage_is_told(storage: str) -> None:
    with pytest.raises(ConfigError, match=r"cannot be reached \(.+\): correct --storage"):
        check_storage(storage, is_written=False)


def test_a_folder_is_made_only_where_something_is_put(s3_uri: str, tmp_path: Path) -> None:
    check_storage(str(tmp_path / "absent"), is_written=True)
    check_storage(s3_uri, is_written=False)
    assert not Folder.open(s3_uri).exists()
    check_storage(s3_uri, is_written=True)
    assert Folder.open(s3_uri).exists()
    check_storage(s3_uri, is_written=True)


def test_a_bucket_that_is_not_there_is_told(s3_uri: str) -> None:
    absent = f"s3://absent-{uuid.uuid4().hex}/{s3_uri.partition('/rml')[2]}"
    with pytest.raises(ConfigError, match=r"cannot be reached and written to \(.*absent-.*\)"):
        check_storage(absent.replace("creation=true", "creation=false"), is_written=True)
